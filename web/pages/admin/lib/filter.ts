// Filters of the lists: between the address, the form and the wire.
import type { ConnectionFilter, Entry, EntryType, Frame } from "../api.js";

export const TEXT_FILTERS = ["user", "name", "address", "app", "platform", "tag"] as const;
export const SHORTCUTS = ["15m", "1h", "today", "yesterday", "7d"] as const;
export type Shortcut = (typeof SHORTCUTS)[number];

/** What the server is asked for. A shortcut ends where the clock stands, so it is worked out anew each time. */
export function filterOf(params: Readonly<Record<string, string>>, now: number): ConnectionFilter {
  const filter: ConnectionFilter = {};
  for (const key of TEXT_FILTERS) {
    const value = params[key]?.trim();
    if (value) filter[key] = value;
  }
  const range = isShortcut(params["range"]) ? rangeOf(params["range"], now) : undefined;
  const since = range?.since ?? timeOf(params["since"]);
  const until = range?.until ?? timeOf(params["until"]);
  if (since !== undefined) filter.since = since;
  if (until !== undefined) filter.until = until;
  return filter;
}

export function isShortcut(text: string | undefined): text is Shortcut {
  return SHORTCUTS.some((name) => name === text);
}

/** Days begin at midnight where the reader is. */
export function rangeOf(shortcut: Shortcut, now: number): { since: number; until?: number } {
  const midnight = new Date(now);
  midnight.setHours(0, 0, 0, 0);
  switch (shortcut) {
    case "15m":
      return { since: now - 15 * 60_000 };
    case "1h":
      return { since: now - 3_600_000 };
    case "today":
      return { since: midnight.getTime() };
    case "yesterday": {
      const before = new Date(midnight);
      before.setDate(before.getDate() - 1);
      return { since: before.getTime(), until: midnight.getTime() };
    }
    case "7d":
      return { since: now - 7 * 86_400_000 };
  }
}

/** Milliseconds of what `<input type="datetime-local">` gives, in the reader's time zone. */
export function timeOf(text: string | undefined): number | undefined {
  if (!text || !/^\d{4,6}-\d\d-\d\dT\d\d:\d\d/.test(text)) return undefined;
  const time = new Date(text).getTime();
  return Number.isNaN(time) ? undefined : time;
}

/** The text that `<input type="datetime-local">` takes. */
export function inputOf(time: number): string {
  const at = new Date(time);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** Whether an entry of the log is of one of these types (none: of any) and holds the text somewhere. */
export function entryMatches(entry: Entry, types: ReadonlySet<EntryType>, text: string): boolean {
  if (types.size > 0 && !types.has(entry.type)) return false;
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return true;
  const { connection, user, tag, address, code, reason, by, action, detail } = entry;
  return [connection, user, tag, address, code, reason, by, action, detail].some(
    (value) => value !== undefined && String(value).toLowerCase().includes(wanted),
  );
}

export function frameMatches(frame: Frame, direction: "" | "in" | "out", text: string): boolean {
  if (direction !== "" && frame.direction !== direction) return false;
  const wanted = text.trim().toLowerCase();
  return wanted === "" || frame.kind.includes(wanted) || frame.text.toLowerCase().includes(wanted);
}
