// A few lines of code with a little colour: strings, words of the language, comments.

import { make } from "./dom";

const TOKEN = /("(?:[^"\\]|\\.)*"|`[^`]*`)|(\/\/.*)|(<\/?script[^>]*>)|\b(import|from|const|new|await|async|function|return)\b/g;
const NAMES = ["string", "comment", "tag", "keyword"];

/** Replaces what stands in `target`. */
export function showCode(target: HTMLElement, lines: string[]): void {
  target.replaceChildren(
    ...lines.map((text) => {
      const line = make("span", "line");
      let end = 0;
      for (const match of text.matchAll(TOKEN)) {
        const name = NAMES[match.slice(1).findIndex((group) => group !== undefined)] ?? "";
        line.append(text.slice(end, match.index), make("span", name, match[0]));
        end = match.index + match[0].length;
      }
      line.append(`${text.slice(end)}\n`);
      return line;
    }),
  );
}
