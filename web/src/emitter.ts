// Who hears what. Many handlers an event; one that throws disturbs nobody.

import type { Failure, Handler, Message } from "./types.js";

interface Entry {
  handler: Handler;
  once: boolean;
}

/** Handlers by event. Lists are never changed but replaced, so that a message needs no copy of them. */
export class Emitter {
  #lists = new Map<string, readonly Entry[]>();

  /** Adds a handler; the function given back takes it off. */
  add(event: string, handler: Handler, once: boolean): () => void {
    const entry = { handler, once };
    this.#lists.set(event, [...this.#list(event), entry]);
    return () => {
      this.remove(event, (other) => other === entry);
    };
  }

  /** Takes off what matches; whether there was any. */
  remove(event: string, matches: (entry: Entry) => boolean): boolean {
    const list = this.#list(event);
    const left = list.filter((entry) => !matches(entry));
    if (left.length) this.#lists.set(event, left);
    else this.#lists.delete(event);
    return left.length < list.length;
  }

  /** Calls the handlers of an event in the order in which they came; whether there were any. */
  emit(event: string, data: unknown, message?: Message): boolean {
    const list = this.#lists.get(event);
    if (!list) return false;
    for (const entry of list) {
      // A handler that runs once may have run in the meantime, in an event that another handler caused.
      if (entry.once && !this.remove(event, (other) => other === entry)) continue;
      try {
        entry.handler(data, message as Message);
      } catch (error) {
        this.report({ error, event });
      }
    }
    return true;
  }

  /** Tells of a failure: by `$error`, or where all uncaught errors go. */
  report(failure: Failure): void {
    if (failure.event !== "$error" && this.emit("$error", failure)) return;
    (globalThis.reportError ?? console.error)(failure.error);
  }

  #list(event: string): readonly Entry[] {
    return this.#lists.get(event) ?? [];
  }
}
