// Login and logout: the only things that go over HTTP.

export interface Session {
  csrf: string;
  expires_at: number;
}

export type LoginResult = { session: Session } | { wrong: true } | { retryAfter: number } | { failed: true };

/** `undefined`: nobody is logged in. Throws where the server cannot be reached. */
export async function session(): Promise<Session | undefined> {
  const response = await fetch("/session", { headers: { accept: "application/json" }, cache: "no-store" });
  if (response.status === 401 || response.status === 403) return undefined;
  if (!response.ok) throw new Error(`GET /session: ${response.status}`);
  return (await response.json()) as Session;
}

export async function login(token: string): Promise<LoginResult> {
  try {
    const response = await fetch("/login", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ token }),
    });
    if (response.ok) return { session: (await response.json()) as Session };
    if (response.status === 429) {
      const body = (await response.json().catch(() => ({}))) as { retry_after?: number };
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
