// A list that holds the latest items, up to a limit: what the page keeps of streams that never end.

export class Ring<T> {
  readonly #limit: number;
  #items: T[] = [];
  #start = 0;
  /** How many have been pushed out. */
  lost = 0;

  constructor(limit: number) {
    if (!(limit >= 1)) throw new RangeError("a ring holds at least one item");
    this.#limit = Math.floor(limit);
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: T): void {
    if (this.#items.length < this.#limit) {
      this.#items.push(item);
      return;
    }
    this.#items[this.#start] = item;
    this.#start = (this.#start + 1) % this.#limit;
    this.lost += 1;
  }

  /** The oldest is at 0. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#items.length) return undefined;
    return this.#items[(this.#start + index) % this.#items.length];
  }

  /** Oldest first. */
  toArray(): T[] {
    return [...this.#items.slice(this.#start), ...this.#items.slice(0, this.#start)];
  }

  /** Takes older items in front, as many as there is room for. */
  prepend(older: readonly T[]): void {
    const room = this.#limit - this.#items.length;
    if (room <= 0 || older.length === 0) return;
    this.#items = [...older.slice(Math.max(0, older.length - room)), ...this.toArray()];
    this.#start = 0;
  }

  clear(): void {
    this.#items = [];
    this.#start = 0;
    this.lost = 0;
  }
}
