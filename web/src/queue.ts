// What waits for a connection.

import type { Call } from "./calls.js";
import type { Options, Overflow } from "./types.js";

/** First in, first out, and bounded. */
export class Queue {
  #calls: Call[] = [];
  #limit: number;
  readonly overflow: Overflow;

  constructor({ limit = 100, overflow = "reject" }: NonNullable<Options["queue"]>) {
    this.#limit = limit;
    this.overflow = overflow;
  }

  get size(): number {
    return this.#calls.length;
  }

  /** Puts a call at the end; gives back the one that has no room, which may be the same. */
  push(call: Call): Call | undefined {
    this.#calls.push(call);
    if (this.size <= this.#limit) return;
    return this.overflow === "drop-oldest" ? this.#calls.shift() : this.#calls.pop();
  }

  shift(): Call | undefined {
    return this.#calls.shift();
  }

  /** Takes out a call that nobody waits for any more. */
  remove(call: Call): void {
    this.#calls = this.#calls.filter((other) => other !== call);
  }

  clear(): void {
    this.#calls = [];
  }
}
