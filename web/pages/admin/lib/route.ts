// What the part of the address behind the # means: `#/connections?user=42&c=ID`.

export const VIEWS = ["overview", "connections", "tags", "send", "log", "config", "nodes"] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Route {
  view: ViewName;
  /** Filters and what is open; `c` is the connection in the drawer, on any view. */
  params: Readonly<Record<string, string>>;
}

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const view = VIEWS.find((name) => name === path) ?? "overview";
  const params: Record<string, string> = {};
  for (const [key, value] of new URLSearchParams(query)) if (value !== "") params[key] = value;
  return { view, params };
}

export function hashOf(view: ViewName, params: Readonly<Record<string, string | undefined>> = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) if (value !== undefined && value !== "") query.set(key, value);
  const text = query.toString();
  return `#/${view}${text === "" ? "" : `?${text}`}`;
}

/** The token in the fragment of a link that `antiphon` has printed: `#token=...`. */
export function tokenOf(hash: string): string | undefined {
  return new URLSearchParams(hash.replace(/^#/, "")).get("token") ?? undefined;
}
