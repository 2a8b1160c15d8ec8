// The token: where it comes from, and how long it is worth keeping.

import type { Token } from "./types.js";

/** Keeps a token that a function has fetched until it is over or refused. */
export class Credential {
  #source: Token | undefined;
  #kept: string | null | undefined;
  #isNew = false;
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
    this.drop();
  }

  /** The token to log in with; asks for one if none is kept that is good. */
  async get(): Promise<string | null | undefined> {
    return this.#kept && this.left > 0 ? this.#kept : this.fetch();
  }

  /** A new token. */
  async fetch(): Promise<string | null | undefined> {
    const source = this.#source;
    if (typeof source !== "function") return source;
    const token = await source();
    // Meanwhile another source may have been set: this token is of no use then.
    if (source === this.#source) {
      this.#kept = token;
      this.#isNew = true;
      this.#over = Infinity;
    }
    return token;
  }

  /** The server has let it in, for this many seconds. */
  accept(ttl = Infinity): void {
    this.#isNew = false;
    this.#over = Date.now() + ttl * 1000;
  }

  /** The server has refused it: whether asking for a new one makes sense. It does not for one that was new. */
  refuse(): boolean {
    const again = this.isRenewable && !this.#isNew;
    this.drop();
    return again;
  }

  /** Keeps it no longer. */
  drop(): void {
    this.#kept = undefined;
    this.#isNew = false;
  }
}
