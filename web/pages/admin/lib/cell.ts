// A value that can be watched, and the hook that draws a part again when it changes.
import { useEffect, useReducer } from "preact/hooks";

export class Cell<T> {
  #value: T;
  readonly #watchers = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const watcher of [...this.#watchers]) watcher(value);
  }

  /** Returns a function that ends it. */
  watch(watcher: (value: T) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }
}

export function useCell<T>(cell: Cell<T>): T {
  const [, draw] = useReducer((count: number) => count + 1, 0);
  const drawn = cell.value;
  useEffect(() => {
    const end = cell.watch(() => draw(undefined));
    // It may have changed between the drawing and this effect, which comes after the next frame.
    if (!Object.is(drawn, cell.value)) draw(undefined);
    return end;
    // `drawn` is that of the drawing which set the effect up.
  }, [cell]);
  return drawn;
}
