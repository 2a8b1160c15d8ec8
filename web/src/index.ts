// The client of antiphon for browsers, workers and Node.

export { Client } from "./client.js";
export { AntiphonError } from "./errors.js";
export { CloseCode, ErrorCode, reconnects, TEMPORARY_ERRORS } from "./generated/protocol.js";
export type * from "./types.js";
