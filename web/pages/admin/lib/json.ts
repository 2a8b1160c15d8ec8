// Reads JSON as RFC 8259 has it, and says where it is wrong: browsers word that differently, or not at all.

export type Problem = "value" | "end" | "string" | "escape" | "number" | "key" | "colon" | "comma" | "after" | "deep";

export interface Fault {
  problem: Problem;
  /** In characters of the text, from 0. */
  offset: number;
  /** From 1. */
  line: number;
  /** From 1. */
  column: number;
  /** What stands there; empty at the end of the text. */
  found: string;
}

/** As deep as the server takes it. */
export const MAX_DEPTH = 64;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

class Wrong extends Error {
  constructor(readonly problem: Problem, readonly offset: number) {
    super(problem);
  }
}

/** The first fault of a text, if it has one. */
export function faultOf(text: string): Fault | undefined {
  try {
    new Reader(text).read();
    return undefined;
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    const { offset, problem } = error;
    const before = text.slice(0, offset).split(/\r\n|\r|\n/);
    const found = [...text.slice(offset, offset + 2)][0] ?? "";
    return {
      problem: offset >= text.length && problem !== "deep" ? "end" : problem,
      offset,
      line: before.length,
      column: [...(before.at(-1) ?? "")].length + 1,
      found,
    };
  }
}

/** The same value over several lines; a text that is no JSON stays as it is. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

class Reader {
  #at = 0;

  constructor(readonly text: string) {}

  read(): void {
    this.#value(0);
    this.#space();
    if (this.#at < this.text.length) throw new Wrong("after", this.#at);
  }

  #space(): void {
    while (" \t\n\r".includes(this.text[this.#at] ?? "x")) this.#at += 1;
  }

  /** Whether the next character is this one, which is then read. */
  #eat(character: string): boolean {
    this.#space();
    if (this.text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #match(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  #value(depth: number): void {
    this.#space();
    const start = this.#at;
    const next = this.text[start];
    if (next === "{" || next === "[") {
      if (depth >= MAX_DEPTH) throw new Wrong("deep", start);
      this.#at += 1;
      if (next === "{") this.#object(depth + 1);
      else this.#array(depth + 1);
    } else if (next === '"') {
      this.#string();
    } else if (this.#match(NUMBER)) {
      if (/[\w.+-]/.test(this.text[this.#at] ?? "")) throw new Wrong("number", this.#at);
      if (!Number.isFinite(Number(this.text.slice(start, this.#at)))) throw new Wrong("number", start);
    } else if (!this.#match(WORD) || /\w/.test(this.text[this.#at] ?? "")) {
      throw new Wrong(next === "-" ? "number" : "value", start);
    }
  }

  #object(depth: number): void {
    if (this.#eat("}")) return;
    do {
      this.#space();
      if (this.text[this.#at] !== '"') throw new Wrong("key", this.#at);
      this.#string();
      if (!this.#eat(":")) throw new Wrong("colon", this.#at);
      this.#value(depth);
    } while (this.#eat(","));
    if (!this.#eat("}")) throw new Wrong("comma", this.#at);
  }

  #array(depth: number): void {
    if (this.#eat("]")) return;
    do this.#value(depth);
    while (this.#eat(","));
    if (!this.#eat("]")) throw new Wrong("comma", this.#at);
  }

  #string(): void {
    this.#at += 1;
    for (;;) {
      const next = this.text[this.#at];
      if (next === undefined) throw new Wrong("string", this.#at);
      if (next < " ") throw new Wrong("string", this.#at);
      if (next === '"') break;
      if (next !== "\\") this.#at += 1;
      else if (!this.#match(ESCAPE)) throw new Wrong("escape", this.#at);
    }
    this.#at += 1;
  }
}
