// Theme and language.
/** @jsxImportSource preact */
import type { JSX } from "preact";

import { useCell } from "../lib/cell.js";
import { language, useTexts } from "../texts.js";
import { dark, toggleTheme } from "../theme.js";
import { Button } from "./ui.js";

export function Switches(): JSX.Element {
  const { t, language: current } = useTexts();
  const night = useCell(dark);
  const other = current === "en" ? "zh" : "en";
  return (
    <div class="switches">
      <Button icon={night ? "sun" : "moon"} kind="bare" label={t(night ? "toLight" : "toDark")} onClick={toggleTheme}
        testid="theme" />
      <button type="button" class="button bare" lang={other} onClick={() => language.set(other)} data-testid="language">
        {t("language")}
      </button>
    </div>
  );
}
