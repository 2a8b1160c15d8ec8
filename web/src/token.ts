// The token: where it comes from, and how long it is worth keeping.

import type { Token } from "./types.js";

/** Keeps a token that a function has fetched until it is over or refused. */
export class Credential {
  #source: Token | undefined;
  /** What was fetched last. */
  #last: string | null | undefined;
  #isKept = false;
  /** No server has seen it yet. */
  #isNew = false;
  /** It, or the one before it, was refused. */
  #isRefused = false;
  #over = Infinity;

  constructor(source: Token | undefined) {
    this.#source = source;
  }

  /** Whether there has to be a token before a connection makes sense. */
  get isNeeded(): boolean {
    return this.#source !== undefined;
  }

  /** Whether a new one can be had without anybody's help. */
  get isRenewable(): boolean {
    return typeof this.#source === "function";
  }

  /** Milliseconds until the token is over. */
  get left(): number {
    return this.#over - Date.now();
  }

  /** Another token, or another way to it. */
  set(source: Token | undefined): void {
    this.#source = source;
    this.#last = undefined;
    this.#isKept = this.#isRefused = false;
  }

  /** The token to log in with: the one that is kept, if it is still good, or a new one. */
  async get(): Promise<string | null | undefined> {
    if (this.#isKept && this.left > 0) return this.#last;
    const token = await this.fetch();
    this.#over = Infinity;
    return token;
  }

  /** A new token. */
  async fetch(): Promise<string | null | undefined> {
    const source = this.#source;
    if (typeof source !== "function") return source;
    const token = await source(this.#last ?? undefined);
    // Meanwhile another source may have been set: this token is of no use then.
    if (source === this.#source) {
      this.#last = token;
      this.#isKept = !!token;
      this.#isNew = true;
    }
    return token;
  }

  /** The server has let it in, for this many seconds. */
  accept(ttl = Infinity): void {
    this.#isNew = this.#isRefused = false;
    this.#over = Date.now() + ttl * 1000;
  }

  /**
   * The server has refused it: whether to ask for another one. That makes sense once, and for a new one only where it
   * was over: its function may have kept it too long.
   */
  refuse(isOver: boolean): boolean {
    const again = this.isRenewable && !this.#isRefused && (isOver || !this.#isNew);
    this.drop();
    this.#isRefused = true;
    return again;
  }

  /** Keeps it no longer. */
  drop(): void {
    this.#isKept = false;
  }
}
