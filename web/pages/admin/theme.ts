// Light or dark: the system's choice, until the reader makes one. The same key and mark as the other pages.
import { kept } from "../shared/dom.js";
import { Cell } from "./lib/cell.js";

const system = matchMedia("(prefers-color-scheme: dark)");

export const dark = new Cell(system.matches);

function show(chosen: string | null): void {
  const root = document.documentElement;
  if (chosen === "dark" || chosen === "light") root.dataset["theme"] = chosen;
  else delete root.dataset["theme"];
  dark.set(root.dataset["theme"] === undefined ? system.matches : chosen === "dark");
}

export function toggleTheme(): void {
  const next = dark.value ? "light" : "dark";
  // Back at the system's own choice, it is followed again.
  const chosen = (next === "dark") === system.matches ? null : next;
  kept.set("theme", chosen);
  show(chosen);
}

system.addEventListener("change", () => show(kept.get("theme")));
show(kept.get("theme"));
