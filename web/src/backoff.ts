// How long to wait before connecting again.

import type { Options } from "./types.js";

/** The longest wait that a server can ask for: an hour. */
export const LONGEST_ORDER = 3_600_000;

/**
 * Full jitter: each wait is random, from nothing up to a bound that doubles from `first` to `longest`. Clients that
 * lost their server at the same moment do not come back at the same moment. A server's own delay is never undercut.
 */
export class Backoff {
  #first: number;
  #longest: number;
  #attempt = 0;

  constructor(options: Options["reconnect"]) {
    const { first = 500, longest = 30_000 } = options || {};
    this.#first = first;
    this.#longest = longest;
  }

  /** The wait before the next attempt, in milliseconds, at least what the server has ordered. */
  next(ordered: number): number {
    const bound = Math.min(this.#longest, this.#first * 2 ** Math.min(this.#attempt++, 30));
    return Math.max(Math.random() * bound, Math.min(ordered, LONGEST_ORDER));
  }

  /** The last connection was a good one: begin anew. */
  reset(): void {
    this.#attempt = 0;
  }
}
