// Names and numbers of the protocol. Generated from crates/hub/src/code.rs: run `cargo xtask tables` instead of editing.

/** Subprotocols, the preferred one first. */
export const SUBPROTOCOLS = ["antiphon.v2.json", "hotgo.v1"] as const;

/** Events that the server itself handles or sends. */
export const ReservedEvent = {
  /** Authenticates with a first message; answered with the session. */
  CONNECT: "$connect",
  /** Joins a tag; events of the tag carry its name in `ch` from then on. */
  SUBSCRIBE: "$subscribe",
  /** Leaves a tag. */
  UNSUBSCRIBE: "$unsubscribe",
  /** Sends an event to everybody in a tag. */
  PUBLISH: "$publish",
  /** Asks who is in a tag. */
  PRESENCE: "$presence",
  /** Reserved for the past of a channel; answered with 108 (not available). */
  HISTORY: "$history",
  /** Brings a new token before the old one is over. */
  REFRESH: "$refresh",
  /** Asks for a reply, to measure the way there and back. */
  PING: "$ping",
  /** The heartbeat of hotgo's client; an alias of `$ping` in v2. */
  V1_PING: "ping",
  /** Joins the tag `id`; answered with all tags of the connection. */
  V1_JOIN: "join",
  /** Leaves the tag `id`; answered with the tags that remain. */
  V1_QUIT: "quit",
  /** The first event of a connection that was authenticated by its handshake. */
  CONNECTED: "$connected",
  /** These have joined the tag, collected for a moment; `count` are in it now. */
  JOIN: "$join",
  /** These have left the tag, collected for a moment; `count` are in it now. */
  LEAVE: "$leave",
  /** Events were dropped because the client read too slowly; fetch the state anew. */
  GAP: "$gap",
  /** The last event before a Close: its code, whether to connect again, and after how long. */
  DISCONNECT: "$disconnect",
  /** The last event before a Close after which the client should stay away: log out. */
  V1_KICK: "kick",
  /** By convention what a backend has to tell a user; the server does not send it by itself. */
  V1_NOTICE: "notice",
} as const;

/** Why a request failed: `code` of a reply. Numbers from 1000 are the application's. */
export const ErrorCode = {
  /** The server, a handler or a backend failed. */
  INTERNAL: 100,
  /** The client has to authenticate first. */
  UNAUTHORIZED: 101,
  /** There is no such channel, or it has no such feature. */
  UNKNOWN_CHANNEL: 102,
  /** The client may not do this. */
  PERMISSION_DENIED: 103,
  /** Nobody handles this event. */
  METHOD_NOT_FOUND: 104,
  /** The connection is in the channel already. */
  ALREADY_SUBSCRIBED: 105,
  /** A limit of the server would be exceeded, such as the channels of one connection. */
  LIMIT_EXCEEDED: 106,
  /** The request cannot be read, or lacks something. */
  BAD_REQUEST: 107,
  /** The server or the channel does not offer this. */
  NOT_AVAILABLE: 108,
  /** The token is over; get a new one. */
  TOKEN_EXPIRED: 109,
  /** The permission behind the request is over. */
  EXPIRED: 110,
  /** The client sends too much; `retryAfterMs` says when it may go on. */
  TOO_MANY_REQUESTS: 111,
  /** What came after this offset is not kept any more; fetch the state anew. */
  UNRECOVERABLE_POSITION: 112,
  /** A handler or a backend did not answer in time. */
  TIMEOUT: 113,
} as const;

/** Codes of errors after which the same request may succeed later. */
export const TEMPORARY_ERRORS: readonly number[] = [100, 111, 113];

/** Codes with which the server closes. */
export const CloseCode = {
  /** The server stops. */
  GOING_AWAY: 1001,
  /** The server stops and another one takes over; wait a little, then connect again. */
  RESTART: 1012,
  /** The server has as many connections as it may have; wait a little, then connect again. */
  TRY_AGAIN_LATER: 1013,
  /** The server closes without a particular reason. */
  CONNECTION_CLOSED: 3000,
  /** The server shuts down. */
  SHUTDOWN: 3001,
  /** The server or a backend failed while it dealt with the connection. */
  SERVER_ERROR: 3003,
  /** The token is over; connect with a new one. */
  EXPIRED: 3004,
  /** The client did not read what was sent, and its outbox is full. */
  SLOW: 3008,
  /** The server lost its place in a channel; subscribe anew. */
  INSUFFICIENT_STATE: 3010,
  /** The server asks the client to connect again. */
  FORCE_RECONNECT: 3011,
  /** The client did not answer a ping in time. */
  NO_PONG: 3012,
  /** The client sent too much; connect again later. */
  TOO_MANY_REQUESTS: 3013,
  /** The token is none of ours, or was changed. */
  INVALID_TOKEN: 3500,
  /** The client sent what cannot be read. */
  BAD_REQUEST: 3501,
  /** The client did not authenticate in time. */
  STALE: 3502,
  /** The client was kicked and should stay away. */
  FORCE_NO_RECONNECT: 3503,
  /** The user, the address or the server has as many connections as allowed. */
  CONNECTION_LIMIT: 3504,
  /** The connection is in as many channels as allowed. */
  CHANNEL_LIMIT: 3505,
  /** The client may not connect. */
  PERMISSION_DENIED: 3507,
  /** The server does not offer what the client needs. */
  NOT_AVAILABLE: 3508,
  /** The client sent too many wrong requests. */
  TOO_MANY_ERRORS: 3509,
  /** The token, the session or the user was revoked. */
  REVOKED: 3510,
  /** The same user has connected elsewhere, and the policy allows one connection. */
  LOGGED_IN_ELSEWHERE: 3511,
} as const;

/** Whether to connect again after a close code, for any code. */
export function reconnects(code: number): boolean {
  return (
    [1001, 1006, 1011, 1012, 1013].includes(code) ||
    (code >= 3000 && code <= 3499) ||
    (code >= 4000 && code <= 4499)
  );
}
