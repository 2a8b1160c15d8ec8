// Requests that wait for their replies. Each is settled once.

import { AntiphonError } from "./errors.js";
import { LONGEST_TIMER } from "./timers.js";

/** A message on its way out; one with `settle` waits for a reply. */
export interface Call {
  id: number;
  event: string;
  /** As it goes over the wire: what is changed later does not change the message. */
  text: string;
  isSent?: boolean;
  settle?: Settle;
}

/** Ends a request: with an error, or without one and with the data of the reply. */
export type Settle = (error: any, data?: any) => void;

/** The requests without a reply, by id, in the order in which they were made. */
export class Calls {
  #calls = new Map<number, Call>();

  get size(): number {
    return this.#calls.size;
  }

  /** Makes a call wait, for `timeout` milliseconds or until `signal` takes it back. */
  open(call: Call, timeout: number, signal: AbortSignal | undefined, done: Settle): void {
    const abort = () => call.settle!(signal!.reason);
    const timer = setTimeout(
      () => call.settle!(new AntiphonError("timeout", "no reply came in time", true)),
      Math.min(timeout, LONGEST_TIMER),
    );
    signal?.addEventListener("abort", abort);
    this.#calls.set(call.id, call);
    call.settle = (error, data) => {
      if (!this.#calls.delete(call.id)) return;
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      done(error, data);
    };
  }

  get(id: number): Call | undefined {
    return this.#calls.get(id);
  }

  /** The first that was sent under this name: v1 has no ids. */
  first(event: string): Call | undefined {
    for (const call of this.#calls.values()) if (call.isSent && call.event === event) return call;
    return;
  }

  /** Fails those that were sent, or all. */
  fail(error: AntiphonError, all: boolean): void {
    for (const call of this.#calls.values()) if (all || call.isSent) call.settle!(error);
  }
}
