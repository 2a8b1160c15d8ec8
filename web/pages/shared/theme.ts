// Light or dark: the system's choice, until the reader makes one with #theme.

import { $, kept } from "./dom";

const dark = matchMedia("(prefers-color-scheme: dark)");

const isDark = (): boolean => {
  const chosen = document.documentElement.dataset.theme;
  return chosen === undefined ? dark.matches : chosen === "dark";
};

/** Makes #theme the switch; `label` names what it would do. `changed` hears of every change, for what is drawn by hand. */
export function startTheme(label: (toDark: boolean) => string, changed: () => void = () => {}): () => void {
  const button = $("theme");
  const show = (): void => {
    button.setAttribute("aria-label", label(!isDark()));
    button.title = label(!isDark());
    changed();
  };
  const choose = (theme: string | null): void => {
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    for (const meta of document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")) {
      meta.dataset.own ??= meta.content;
      const chosen = document.querySelector<HTMLMetaElement>(`meta[name=theme-color][media*=${theme}]`);
      meta.content = theme && chosen ? (chosen.dataset.own ?? chosen.content) : meta.dataset.own;
    }
    show();
  };
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    // Back at the system's own choice, it is followed again.
    const theme = (next === "dark") === dark.matches ? null : next;
    kept.set("theme", theme);
    choose(theme);
  });
  dark.addEventListener("change", show);
  choose(kept.get("theme"));
  return show;
}
