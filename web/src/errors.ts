// Why a request failed.

import type { LocalCode } from "./types.js";

/**
 * Why a request failed, by `code`:
 *
 * - a number: the server refused it. The numbers are in `ErrorCode`; from 1000 they are the application's; -1 on v1.
 * - `"timeout"`: no reply in time. The server may have handled it.
 * - `"lost"`: the connection ended before the reply. The server may have handled it.
 * - `"full"`: too much waits already. It was not sent.
 * - `"closed"`: the client is closed. It was not sent, or nobody waits for the reply.
 */
export class AntiphonError extends Error {
  /** The server's number, or this side's word. */
  readonly code: number | LocalCode;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;
  /** Milliseconds to wait before that, where the server says so. */
  readonly retryAfter: number | undefined;

  /** Made by the client; an application needs it for tests of its own. */
  constructor(code: number | LocalCode, message: string, temporary = false, retryAfter?: number) {
    super(message);
    this.name = "AntiphonError";
    this.code = code;
    this.temporary = temporary;
    this.retryAfter = retryAfter;
  }
}
