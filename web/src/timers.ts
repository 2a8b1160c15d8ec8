// The timers of a client: one of each kind, and none is left behind.

/** The longest wait that `setTimeout` knows, about 24.8 days; a longer one would end at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** One timer a slot; setting it again replaces it. */
export class Timers {
  #ids: ReturnType<typeof setTimeout>[] = [];

  set(slot: number, wait: number, run: () => void): void {
    clearTimeout(this.#ids[slot]);
    this.#ids[slot] = setTimeout(run, Math.min(wait, LONGEST_TIMER));
  }

  clear(): void {
    for (const id of this.#ids) clearTimeout(id);
    this.#ids = [];
  }
}
