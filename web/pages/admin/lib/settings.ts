// Settings, found and put under the table that they stand in.
import type { ConfigRow } from "../api.js";

/** Those that match, under the table that they stand in. */
export function groupsOf(rows: readonly ConfigRow[], search: string, changed: boolean): [string, ConfigRow[]][] {
  const wanted = search.trim().toLowerCase();
  const groups = new Map<string, ConfigRow[]>();
  for (const row of rows) {
    if (changed && row.source === null) continue;
    // A secret cannot be found by its value.
    const texts = [row.key, row.about, row.source, row.secret ? "" : row.value];
    if (wanted !== "" && !texts.some((text) => text?.toLowerCase().includes(wanted))) continue;
    const name = row.key.includes(".") ? row.key.slice(0, row.key.indexOf(".")) : "";
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return [...groups];
}
