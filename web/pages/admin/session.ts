// Login and logout: the only things that go over HTTP.

export interface Session {
  csrf: string;
  expires_at: number;
}

export type LoginResult = { session: Session } | { wrong: true } | { retryAfter: number } | { failed: true };

/** `undefined`: nobody is logged in. Throws where the server cannot be reached. */
export async function session(): Promise<Session | undefined> {
  const response = await fetch("/session", { headers: { accept: "application/json" }, cache: "no-store" });
  // The body is read in any case: a browser counts a response that nobody reads as a failed request.
  const body = (await response.json().catch(() => ({}))) as Session;
  if (response.status === 401 || response.status === 403) return undefined;
  if (!response.ok) throw new Error(`GET /session: ${response.status}`);
  return body;
}

export async function login(token: string): Promise<LoginResult> {
  try {
    const response = await fetch("/login", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ token }),
    });
    const body = (await response.json().catch(() => ({}))) as Session & { retry_after?: number };
    if (response.ok) return { session: body };
    if (response.status === 429) {
      const seconds = body.retry_after ?? Number(response.headers.get("retry-after") ?? 1);
      return { retryAfter: Math.max(1, Math.ceil(Number.isFinite(seconds) ? seconds : 1)) };
    }
    return response.status >= 400 && response.status < 500 ? { wrong: true } : { failed: true };
  } catch {
    return { failed: true };
  }
}

export async function logout(csrf: string): Promise<void> {
  // The cookie is gone at the latest when it expires; the page forgets it in any case.
  await fetch("/logout", { method: "POST", headers: { "x-csrf-token": csrf } }).catch(() => undefined);
}
