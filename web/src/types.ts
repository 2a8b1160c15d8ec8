// What the client takes and gives: the types of its public face. No code.


/** Any value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * Where the client stands.
 *
 * - `idle`: `connect()` has not been called yet. What is sent waits in the queue.
 * - `connecting`: a token is fetched, a socket opens, or the server is asked to let the client in.
 * - `open`: messages flow.
 * - `waiting`: the connection has ended, and the next attempt begins after `delay`.
 * - `closed`: it is over: `disconnect()`, a refused token, or a code that says to stay away. Nothing is sent or queued.
 */
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";

/** Why a state was entered: the data of the event `$state`. */
export interface StateChange {
  /** Where the client stands now. */
  state: State;
  /** A close code, or the error code of a refused login; 0 where there is none. 1006: the connection broke. */
  code: number;
  /** The server's words, or the client's; `""` where there are none. */
  reason: string;
  /** Milliseconds until the next attempt, in `waiting` alone. Absent there: it waits for the page to be shown again. */
  delay?: number;
  /** The session, in `open` on v2 alone. */
  session: Session | null;
}

/** What the server says of the connection (v2). */
export interface Session {
  /** The connection: 32 hexadecimal digits. */
  client: string;
  /** What revokes this login alone. */
  session?: string;
  /** The server. */
  node: string;
  /** Absent: anonymous. */
  user?: string;
  /** Seconds of silence after which the server sends a heartbeat. */
  ping: number;
  /** Whether the server insists on an answer to it. The client always answers. */
  pong: boolean;
  /** Seconds until the token is over; absent: it does not end. */
  ttl?: number;
  /** The server's clock, in milliseconds since 1970. */
  time: number;
  /** What the connection has joined already, by its login. */
  tags: string[];
  /** What the application or its connect hook says. */
  data?: any;
  /** Bounds of the server: `tags`, `rate` (messages a second) and `burst`. */
  limits: { [name: string]: number };
}

/** One message of the server, as it came: the second argument of every handler. */
export interface Message<Data = any> {
  /** The name of the event. */
  event: string;
  /** What was sent with it. */
  data: Data;
  /** The tag that the event was sent to. */
  ch?: string;
  /** The number of the event in its tag: each is one higher than the one before. */
  offset?: number;
  /** The time of sending, in seconds since 1970. */
  timestamp: number;
}

/** Someone in a tag. */
export interface Member {
  /** The connection. */
  client: string;
  /** Absent: anonymous. */
  user?: string;
  /** What the token lets others see. */
  info?: any;
}

/** Who has come or gone: the data of `$join` and `$leave`. */
export interface Members {
  /** The tag. */
  ch: string;
  /** Who has come, or gone. */
  members: Member[];
  /** How many are in the tag now. */
  count: number;
  /** Not all are listed. */
  more?: boolean;
}

/** Events were dropped, since the client read too slowly: the data of `$gap`. Fetch the state anew. */
export interface Gap {
  /** The tag; absent: events sent to the connection, its user or everybody. */
  ch?: string;
  /** The first offset that is missing. */
  from?: number;
  /** The last offset that is missing. */
  to?: number;
  /** How many events were dropped. */
  dropped: number;
  /** Why: `slow`. */
  reason: string;
}

/** The server says goodbye: the data of `$disconnect`. The client acts on it by itself. */
export interface Goodbye {
  /** The close code that follows. */
  code: number;
  /** The server's words. */
  reason: string;
  /** Whether the code says to connect again. */
  reconnect: boolean;
  /** Milliseconds to wait before connecting again. */
  delayMs: number;
}

/** Something went wrong that no promise tells: the data of `$error`. */
export interface Failure {
  /** What was thrown, or an `AntiphonError`. */
  error: unknown;
  /** The event whose handler threw, or whose sending failed. */
  event?: string;
  /** The tag that could not be joined again; it is not held any more. */
  tag?: string;
}

/** The client's own events, and those of the protocol that concern an application. */
export interface ReservedEvents {
  /** The state has changed. */
  $state: StateChange;
  /** Something failed that no promise tells. */
  $error: Failure;
  /** Who came to a tag, where the server tells. */
  $join: Members;
  /** Who went from a tag, where the server tells. */
  $leave: Members;
  /** Events were dropped. */
  $gap: Gap;
  /** The server says goodbye. */
  $disconnect: Goodbye;
}

/** Where a tag stands in its events (the answer to `join`, v2). */
export interface Position {
  /** The number of the latest event in the tag. */
  offset: number;
  /** To which life of the tag it belongs. */
  epoch: string;
}

/** Who is in a tag (the answer to `presence`). It lists 1,000 at most; `count` are there. */
export interface Presence {
  /** By connection. */
  presence: Record<string, Member>;
  /** How many are there. */
  count: number;
}

/** What became of a published event (the answer to `publish`). */
export interface Delivery {
  /** Connections that it was for. */
  receivers: number;
  /** Of these: it is on its way. */
  queued: number;
  /** Of the queued: it has taken the place of an older event with its key. */
  conflated: number;
  /** There was no room; they will be told by `$gap`. */
  dropped: number;
  /** They are being closed. */
  closing: number;
  /** Other nodes have it too; how many it meets there is not known. */
  remote?: boolean;
  /** The bus has failed: other nodes may not get it. */
  unreachable?: boolean;
}

/** Events of an application that says nothing of them: any name, any data. */
export type AnyEvents = Record<string, any>;

/** Requests of an application that says nothing of them. */
export type AnyRequests = Record<string, (data?: any) => any>;

/** Each request as a function from its data to the data of its reply. */
export type RequestsOf<R> = { [K in keyof R]: (data?: any) => any };

/** The names that `on` knows: the application's, and the reserved ones. */
export type EventName<E> = (keyof E & string) | keyof ReservedEvents | "*";

/** The data of an event. */
export type DataOf<E, K> = K extends keyof ReservedEvents
  ? ReservedEvents[K]
  : K extends "*"
    ? any
    : K extends keyof E
      ? E[K]
      : never;

/** Takes the data of an event, and the message that it came in. Events of the client itself come in none. */
export type Handler<Data = any> = (data: Data, message: Message<Data>) => void;

/** The data of a request, which may be left out where its function takes none; then its options. */
export type Arguments<F, Options> = F extends (...data: infer P) => any
  ? P extends []
    ? [data?: undefined, options?: Options]
    : undefined extends P[0]
      ? [data?: P[0], options?: Options]
      : [data: P[0], options?: Options]
  : never;

/** What a request resolves with. */
export type Reply<F> = F extends (...data: any[]) => infer Result ? Awaited<Result> : never;

/** What a function for tokens gives: empty, if there is none yet. */
export type MaybeToken = string | null | undefined;

/**
 * A token, or a function that fetches one. It is asked when there is none, and again when that one is over or about to
 * be, or was refused; it is given the one that it gave last.
 */
export type Token = string | null | ((last?: string) => MaybeToken | Promise<MaybeToken>);

/** How one message is sent. */
export interface SendOptions {
  /** The tag that the message is about, for events of the application that want one (v2). */
  ch?: string;
  /** Not worth sending later: without a connection it is dropped. Default `false`. */
  volatile?: boolean;
}

/** How one request is sent. */
export interface RequestOptions {
  /** The tag that the request is about (v2). */
  ch?: string;
  /** Milliseconds until it fails with `timeout`, waiting in the queue included. Default: that of the client. */
  timeout?: number;
  /** Takes the request back: the promise is rejected with the signal's reason. */
  signal?: AbortSignal;
}

/** How an event is published. */
export interface PublishOptions extends RequestOptions {
  /** The event takes the place of one with the same key that still waits for a slow client. */
  key?: string;
}

/** What the queue does when it is full. */
export type Overflow = "reject" | "drop-oldest" | "drop-newest";

/** Settings of a client. */
export interface Options {
  /**
   * Says who the client is. A function is asked for each login that needs a new token, and before the token is over.
   * Left out: the server knows by a cookie, or lets anonymous clients in. `null` or `""`: it comes by `setToken`.
   */
  token?: Token;
  /**
   * Where the token travels. `"message"`: in the first message, so that no log of a proxy has it; `"query"`: as
   * `?authorization=`; `"protocol"`: as a subprotocol (`antiphon.token.`), which few logs have. A server that lets
   * anonymous clients in does not look at messages: take `"protocol"` there. Default: `"message"`; `"query"` on v1.
   */
  tokenIn?: "message" | "query" | "protocol";
  /** `"v2"` is `antiphon.v2.json`; `"v1"` is hotgo's envelope. Default `"v2"`. */
  protocol?: "v2" | "v1";
  /** The constructor of sockets, where there is no global one (Node 20: the package `ws`). */
  WebSocket?: unknown;
  /** Says to the server what the client is (v2). */
  name?: string;
  /** Says to the server which version of it this is (v2). */
  version?: string;
  /** What waits while there is no connection. */
  queue?: {
    /** Most messages that wait. Default 100; 0: none. */
    limit?: number;
    /**
     * At the limit: `"reject"` fails the new request, and tells of a lost send by `$error`; `"drop-newest"` drops a new
     * send without a word; `"drop-oldest"` drops what has waited longest. A request that is dropped always fails with
     * `full`. Default `"reject"`.
     */
    overflow?: Overflow;
  };
  /** Milliseconds until a request fails with `timeout`. Default 15,000. */
  timeout?: number;
  /** Milliseconds that an attempt to connect may take, from the token to the login. Default 15,000. */
  connectTimeout?: number;
  /**
   * Waits between attempts, in milliseconds: random, up to a bound that doubles from `first` (default 500) to `longest`
   * (default 30,000). `false`: it does not connect again by itself.
   */
  reconnect?: false | { first?: number; longest?: number };
  /** Signs of life. */
  heartbeat?: {
    /** Milliseconds of the server's silence before the client asks. Default: what the server says (v2), else 25,000. */
    interval?: number;
    /** Milliseconds that the answer may take before the connection counts as dead. Default 10,000. */
    grace?: number;
  };
}

/** The codes that are this side's own, beside the numbers of the server. */
export type LocalCode = "timeout" | "lost" | "full" | "closed";

