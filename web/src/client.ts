// The client: one connection at a time, which comes back by itself.

import { Backoff } from "./backoff.js";
import { type Call, Calls, type Settle } from "./calls.js";
import { Emitter } from "./emitter.js";
import { AntiphonError } from "./errors.js";
import { CloseCode, ErrorCode, reconnects, SUBPROTOCOLS } from "./generated/protocol.js";
import { listen } from "./page.js";
import { Queue } from "./queue.js";
import { openSocket, placeOf, type Socket } from "./socket.js";
import { LONGEST_TIMER, Timers } from "./timers.js";
import { Credential } from "./token.js";
import type {
  AnyEvents,
  AnyRequests,
  Arguments,
  DataOf,
  Delivery,
  EventName,
  Handler,
  Options,
  Position,
  Presence,
  PublishOptions,
  Reply,
  RequestOptions,
  RequestsOf,
  SendOptions,
  Session,
  State,
  StateChange,
  Token,
} from "./types.js";

/** Most requests that wait, for the connection or for their replies. */
const MAX_CALLS = 1000;
/** Most bytes that wait in the socket itself; the network is slower than the application then. */
const MAX_BUFFERED = 1 << 20;
/** Most tags that are held. */
const MAX_TAGS = 1000;
/** A connection that has lasted this long was a good one: waits begin from the shortest again. */
const GOOD_AFTER = 10_000;

/** Codes that say that the token is over. */
const OLD_TOKEN: number[] = [ErrorCode.TOKEN_EXPIRED, CloseCode.EXPIRED];
/** Codes that say that it is no good. */
const REFUSED_TOKEN = [...OLD_TOKEN, ErrorCode.UNAUTHORIZED, CloseCode.INVALID_TOKEN];

const DEFAULT_TIMEOUT = 15_000;
const DEFAULT_PING = 25_000;
const DEFAULT_GRACE = 10_000;

/** No close code of the standard: the connection broke. */
const BROKEN = 1006;

// The timers. MAIN belongs to the state: the end of an attempt, the next attempt, or the watch over an open connection.
const MAIN = 0;
const REFRESH = 1;
const PACE = 2;
const REJOIN = 3;

/** A tag that is held until `leave`, or until the server refuses it. */
interface Tag {
  joined: Promise<Position | undefined>;
  resolve(position?: Position): void;
  reject(error: unknown): void;
  /** It has been joined before: nobody waits for the promise. */
  isHeld?: boolean;
  /** It is joined on this connection, or will be. */
  isAsked?: boolean;
}

/**
 * A connection to a server of antiphon, or of hotgo, that comes back by itself.
 *
 * `Events` maps the names of the application's events to their data; `Requests` maps the names of its requests to
 * functions from their data to the data of their replies. Both are for the compiler alone.
 *
 * ```ts
 * interface Events { "chat/message": { text: string } }
 * interface Requests { "chat/send": (data: { text: string }) => { seq: number } }
 *
 * const client = new Client<Events, Requests>("wss://example.com/socket", { token: () => fetchToken() });
 * client.on("chat/message", ({ text }) => show(text));
 * client.connect();
 * const { seq } = await client.request("chat/send", { text: "hi" });
 * ```
 */
export class Client<Events extends object = AnyEvents, Requests extends RequestsOf<Requests> = AnyRequests> {
  #url: string | URL;
  #options: Options;
  #isV1: boolean;
  #emitter = new Emitter();
  #calls = new Calls();
  #queue: Queue;
  #token: Credential;
  #backoff: Backoff;
  #timers = new Timers();
  #tags = new Map<string, Tag>();
  #state: State = "idle";
  #session: Session | null = null;
  #socket: Socket | undefined;
  #lastId = 0;
  /** Counts the connections: what belongs to an earlier one is stale. */
  #turn = 0;
  #openedAt = 0;
  #heardAt = 0;
  /** A sign of life has been asked for, and nothing has come since. */
  #isAsked = false;
  /** The server wants nobody before this time. */
  #notBefore = 0;
  /** Why the server is about to close. */
  #told: { code: number; reason: string; again: boolean; delay: number } | undefined;
  /** `connect()` has been called, and `disconnect()` has not. */
  #isWanted = false;
  /** The page is hidden, and will perhaps be shown again. */
  #isSuspended = false;
  #unlisten: (() => void) | undefined;

  /**
   * Connects nowhere yet: `connect()` does.
   *
   * @param url `ws:` or `wss:`; `http:` and `https:` mean the same. In a page it may be relative: `/socket`.
   */
  constructor(url: string | URL, options: Options = {}) {
    this.#url = url;
    this.#options = options;
    this.#isV1 = options.protocol === "v1";
    this.#queue = new Queue(options.queue ?? {});
    this.#token = new Credential(options.token);
    this.#backoff = new Backoff(options.reconnect);
  }

  /** Where the client stands. */
  get state(): State {
    return this.#state;
  }

  /** What the server says of the connection, while it is open (v2). */
  get session(): Session | null {
    return this.#session;
  }

  /** The tags that were joined by `join` and not left, whether the connection is open or not. */
  get tags(): string[] {
    return [...this.#tags.keys()];
  }

  /** Connects, unless it does already; in `waiting` at once. */
  connect(): void {
    this.#isWanted = true;
    if (this.#state === "connecting" || this.#state === "open") return;
    this.#isSuspended = false;
    const wake = () => this.#wake();
    const suspend = () => this.#suspend();
    const resume = () => this.#resume();
    this.#unlisten ??= listen(
      { online: wake, offline: () => this.#probe(), pagehide: suspend, pageshow: resume },
      { freeze: suspend, resume, visibilitychange: () => document.hidden || wake() },
    );
    this.#dial();
  }

  /** Ends it, whatever it is doing: what waits fails with `closed`, no timer is left. Tags are kept for `connect()`. */
  disconnect(): void {
    this.#isWanted = false;
    if (this.#state !== "closed") this.#close(1000, "");
  }

  /**
   * Brings another token, or another function that fetches one. A client that waits or was closed by the server
   * connects with it; one that is open shows it to the server, and connects anew if the server does not take it
   * (another user's). `null`, while it is open, closes until the next token. On v1 an open connection stays as it is.
   */
  setToken(token: Token): void {
    this.#token.set(token);
    if (!this.#isWanted || this.#isSuspended) return;
    if (this.#state === "open") {
      if (!this.#isV1) this.#refresh(true);
    } else {
      this.#drop();
      this.#state = "waiting";
      this.connect();
    }
  }

  /**
   * Calls a function for each event of this name, or for each event of the server (`"*"`). Beside the application's
   * there are `$state`, `$error`, `$join`, `$leave`, `$gap` and `$disconnect`.
   *
   * @returns a function that takes it off again.
   */
  on<K extends EventName<Events>>(event: K, handler: Handler<DataOf<Events, K>>): () => void {
    return this.#emitter.add(event, handler as Handler, false);
  }

  /** As `on`, for the next event alone. */
  once<K extends EventName<Events>>(event: K, handler: Handler<DataOf<Events, K>>): () => void {
    return this.#emitter.add(event, handler as Handler, true);
  }

  /** Takes a handler off an event, or all of them. */
  off<K extends EventName<Events>>(event: K, handler?: Handler<DataOf<Events, K>>): void {
    this.#emitter.remove(event, (entry) => !handler || entry.handler === handler);
  }

  /**
   * Sends an event, without a reply. While there is no connection it waits in the queue. An error of the server is told
   * by `$error`.
   *
   * @returns whether it was sent or waits; `false`: it is dropped, and never sent.
   */
  send<K extends keyof Requests & string>(event: K, ...rest: Arguments<Requests[K], SendOptions>): boolean {
    const [data, { ch, volatile } = {}] = rest as [unknown, SendOptions?];
    const refused = this.#submit({ id: 0, event, text: JSON.stringify({ event, ch, data }) }, volatile);
    if (refused && refused.code === "full" && this.#queue.overflow === "reject") {
      this.#emitter.report({ error: refused, event });
    }
    return !refused;
  }

  /**
   * Asks the server, and resolves with the data of its reply. While there is no connection the request waits in the
   * queue. On v1 there are no ids: the next message of this name is the reply.
   *
   * Rejects with an {@link AntiphonError}, or with the reason of `signal`.
   */
  request<K extends keyof Requests & string>(
    event: K,
    ...rest: Arguments<Requests[K], RequestOptions>
  ): Promise<Reply<Requests[K]>> {
    const [data, options] = rest as [unknown, RequestOptions?];
    return this.#request(event, data, options);
  }

  /**
   * Joins a tag and holds it: after a reconnect it is joined again, before anything else is sent. Resolves when the
   * server has let the client in, however many connections that takes, also if the client was closed meanwhile; without
   * a value where the tag is left before. Gives the same promise where the tag is held already.
   *
   * Rejects with an {@link AntiphonError} if the server refuses it; the tag is not held then.
   */
  join(tag: string): Promise<Position | undefined> {
    const held = this.#tags.get(tag);
    if (held) return held.joined;
    if (this.#tags.size >= MAX_TAGS) return Promise.reject(full());
    const entry = {} as Tag;
    entry.joined = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    this.#tags.set(tag, entry);
    if (this.#state === "open") this.#subscribe(tag, entry);
    return entry.joined;
  }

  /** Leaves a tag. Resolves when the server has heard it, or the connection has ended: nothing outlasts that. */
  async leave(tag: string): Promise<void> {
    this.#tags.get(tag)?.resolve();
    this.#tags.delete(tag);
    if (this.#state !== "open") return;
    try {
      await (this.#isV1 ? this.#ask("quit", { id: tag }) : this.#ask("$unsubscribe", { ch: tag }));
    } catch (error) {
      if ((error as AntiphonError).code !== "lost") throw error;
    }
  }

  /** Who is in a tag (v2). */
  presence(tag: string, options?: RequestOptions): Promise<Presence> {
    return this.#request("$presence", { ch: tag }, options);
  }

  /** Sends an event to everybody in a tag, without a handler in between (v2). */
  publish<K extends keyof Events & string>(
    tag: string,
    event: K,
    data: Events[K],
    { key, ...options }: PublishOptions = {},
  ): Promise<Delivery> {
    return this.#request("$publish", { ch: tag, event, data, key }, options);
  }

  // Sending.

  #request(event: string, data?: unknown, { ch, timeout, signal }: RequestOptions = {}): Promise<any> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#isV1 && event[0] === "$") throw new AntiphonError(ErrorCode.NOT_AVAILABLE, "v1 has no such request");
      const call = this.#call(event, data, ch);
      const done: Settle = (error, reply) => {
        if (!call.isSent) this.#queue.remove(call);
        error === undefined ? resolve(reply) : reject(error);
      };
      this.#open(call, done, timeout, signal);
      const refused = this.#calls.size > MAX_CALLS ? full() : this.#submit(call);
      if (refused) call.settle!(refused);
    });
  }

  /** A request of the client itself: it passes the queue. */
  #ask(event: string, data: unknown): Promise<any> {
    return new Promise((resolve, reject) => {
      const call = this.#call(event, data);
      this.#open(call, (error, reply) => (error ? reject(error) : resolve(reply)));
      this.#transmit(call);
    });
  }

  #call(event: string, data?: unknown, ch?: string): Call {
    const id = ++this.#lastId;
    return { id, event, text: JSON.stringify({ event, id: this.#isV1 ? undefined : id, ch, data }) };
  }

  #open(call: Call, done: Settle, timeout = this.#options.timeout ?? DEFAULT_TIMEOUT, signal?: AbortSignal): void {
    this.#calls.open(call, timeout, signal, done);
  }

  /** Sends a call or puts it into the queue; the reason where it can do neither. */
  #submit(call: Call, isVolatile?: boolean): AntiphonError | undefined {
    if (this.#state === "closed") return closed();
    if (this.#isWritable && !this.#queue.size) {
      if (this.#socket!.bufferedAmount > MAX_BUFFERED) return full();
      return this.#transmit(call);
    }
    if (isVolatile) return new AntiphonError("lost", "there is no connection", true);
    const loser = this.#queue.push(call);
    if (loser === call) return full();
    if (loser) loser.settle?.(full());
    return;
  }

  /** What is written to a socket that closes is lost without a word. */
  get #isWritable(): boolean {
    return this.#state === "open" && !this.#told && this.#socket!.readyState === 1;
  }

  #transmit(call: Call): undefined {
    call.isSent = true;
    this.#socket!.send(call.text);
  }

  /** Sends what has waited, in its order; not faster than the server takes it. */
  #flush(room: number): void {
    while (room-- > 0 && this.#queue.size && this.#isWritable) this.#transmit(this.#queue.shift()!);
    if (this.#queue.size) {
      this.#timers.set(PACE, 1000, () => this.#flush((this.#session?.limits?.rate || 100) / 2));
    }
  }

  // Tags.

  #rejoin(): void {
    for (const [tag, entry] of this.#tags) if (!entry.isAsked) this.#subscribe(tag, entry);
  }

  #subscribe(tag: string, entry: Tag): void {
    entry.isAsked = true;
    const call = this.#isV1 ? this.#call("join", { id: tag }) : this.#call("$subscribe", { ch: tag });
    this.#open(call, (error, position) => {
      // It may have been left, and joined anew.
      if (this.#tags.get(tag) !== entry) return;
      if (!error || error.code === ErrorCode.ALREADY_SUBSCRIBED) {
        entry.isHeld = true;
        entry.resolve(this.#isV1 ? undefined : position);
      } else if (error.code === "lost") {
        entry.isAsked = false;
      } else if (error.temporary && entry.isHeld) {
        entry.isAsked = false;
        this.#timers.set(REJOIN, Math.max(error.retryAfter ?? 0, 1000 + Math.random() * 4000), () => this.#rejoin());
      } else {
        this.#tags.delete(tag);
        if (entry.isHeld) this.#emitter.report({ error, event: call.event, tag });
        else entry.reject(error);
      }
    });
    this.#transmit(call);
  }

  // Connecting.

  async #dial(): Promise<void> {
    const turn = ++this.#turn;
    this.#told = undefined;
    this.#timers.set(MAIN, this.#options.connectTimeout ?? DEFAULT_TIMEOUT, () =>
      this.#end(BROKEN, "the server did not answer in time"),
    );
    this.#set("connecting");
    try {
      const token = await this.#token.get();
      if (turn !== this.#turn) return;
      if (!token && this.#token.isNeeded) return this.#close(ErrorCode.UNAUTHORIZED, "there is no token yet");
      this.#attach(token);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#emitter.report({ error });
      this.#end(BROKEN, "there is no token, since its function failed");
    }
  }

  #attach(token: string | null | undefined): void {
    let socket: Socket;
    try {
      socket = openSocket(this.#url, token, this.#options);
    } catch (error) {
      this.#emitter.report({ error });
      return this.#close(0, String(error));
    }
    this.#socket = socket;
    const inMessage = placeOf(this.#options) === "message";
    socket.onopen = () => {
      if (this.#isV1) return this.#opened(null);
      if (socket.protocol !== SUBPROTOCOLS[0]) {
        return this.#close(CloseCode.NOT_AVAILABLE, `the server does not speak ${SUBPROTOCOLS[0]}`);
      }
      const { name, version } = this.#options;
      const call = this.#call("$connect", { token: inMessage ? token : undefined, name, version });
      const done: Settle = (error, session) => {
        if (!error) this.#opened(session);
        // The server says more before it closes; if not, the attempt ends in time.
        else if (+error.code) this.#tell(error.code, error.message, error.temporary, error.retryAfter);
      };
      this.#open(call, done, Infinity);
      this.#transmit(call);
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => {
      // A refused handshake looks like a broken network: a token that was in it may be the cause.
      if (!inMessage && this.#state === "connecting") this.#token.drop();
      this.#end(code, reason);
    };
    // The package `ws` takes the process down if nobody listens.
    socket.onerror = () => {};
  }

  #tell(code: number, reason: string, again: boolean, delay = 0): void {
    this.#told = { code, reason, again, delay: Math.max(delay, this.#told?.delay ?? 0) };
  }

  #opened(session: Session | null): void {
    // `$connected` and the reply to `$connect` may both come.
    if (this.#state !== "connecting") return;
    this.#state = "open";
    this.#session = session;
    this.#openedAt = this.#heardAt = performance.now();
    this.#isAsked = false;
    this.#token.accept(session?.ttl);
    this.#watch(this.#interval);
    this.#planRefresh();
    this.#rejoin();
    const turn = this.#turn;
    this.#set("open");
    if (turn === this.#turn) this.#flush(Math.max(1, (session?.limits?.burst || 100) / 2 - this.#tags.size));
  }

  // Ending.

  /** The connection has ended, or has to: connects again later, or closes. */
  #end(code: number, reason: string): void {
    const told = this.#told ?? { code, reason, again: reconnects(code), delay: 0 };
    const isGood = this.#state === "open" && performance.now() - this.#openedAt >= GOOD_AFTER;
    if (isGood) this.#backoff.reset();
    let { again } = told;
    if (this.#token.isNeeded && REFUSED_TOKEN.includes(told.code)) {
      again = this.#token.refuse(OLD_TOKEN.includes(told.code));
    }
    if (!again || this.#options.reconnect === false) return this.#close(told.code, told.reason);
    this.#drop();
    const wait = this.#backoff.next(told.delay);
    this.#notBefore = performance.now() + Math.min(told.delay, wait);
    this.#timers.set(MAIN, wait, () => this.#dial());
    this.#set("waiting", told.code, told.reason, wait);
  }

  #close(code: number, reason: string): void {
    this.#drop();
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#state = "closed";
    this.#calls.fail(closed(reason), true);
    this.#queue.clear();
    this.#set("closed", code, reason);
  }

  /** Lets go of the socket and of everything that belongs to it. */
  #drop(): void {
    this.#turn++;
    this.#timers.clear();
    this.#session = null;
    this.#calls.fail(new AntiphonError("lost", "the connection ended before the reply", true), false);
    for (const entry of this.#tags.values()) entry.isAsked = false;
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #set(state: State, code = 0, reason = "", delay?: number): void {
    this.#state = state;
    const change: StateChange = { state, code, reason, session: this.#session };
    if (delay !== undefined) change.delay = delay;
    this.#emitter.emit("$state", change);
  }

  // Receiving.

  #receive(text: any): void {
    this.#heardAt = performance.now();
    this.#isAsked = false;
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      const lines = String(text).trim().split("\n");
      if (lines[1]) {
        const turn = this.#turn;
        for (const line of lines) if (turn === this.#turn) this.#receive(line);
      } else {
        this.#emitter.report({ error: new AntiphonError(ErrorCode.BAD_REQUEST, "the server sent what is no JSON") });
      }
      return;
    }
    this.#handle(message);
  }

  #handle(message: any): void {
    const { event, id, data, code } = message ?? {};
    // A heartbeat: what is silent gets asked.
    if (event === undefined) return this.#socket?.send("{}");
    const call = this.#isV1 ? this.#calls.first(event) : this.#calls.get(id);
    if (call) return call.settle!(code ? refusal(message) : undefined, data);
    // Late replies, and those to pings.
    if (id !== undefined || (this.#isV1 && event === "ping")) return;
    if (code) return this.#emitter.report({ error: refusal(message), event });
    if (event === "$connected") {
      if (this.#token.isNeeded && !data?.user && placeOf(this.#options) === "message") {
        const reason = "anonymous: the server does not look for tokens in messages; set `tokenIn`";
        this.#emitter.report({ error: new AntiphonError(ErrorCode.UNAUTHORIZED, reason), event });
      }
      return this.#opened(data);
    }
    if (event === "$disconnect" && data) this.#tell(data.code, data.reason, reconnects(data.code), data.delayMs);
    // hotgo hangs up behind it, without a code.
    if (this.#isV1 && event === "kick") this.#tell(CloseCode.FORCE_NO_RECONNECT, event, false);
    this.#emitter.emit(event, data, message);
    this.#emitter.emit("*", data, message);
  }

  // Signs of life.

  /** Milliseconds of silence after which the server is asked; it breaks a silence a little earlier by itself. */
  get #interval(): number {
    return this.#options.heartbeat?.interval ?? ((this.#session?.ping || 0) * 1200 || DEFAULT_PING);
  }

  /** Looks after `wait` milliseconds whether the server is still there. */
  #watch(wait: number, isLast = false): void {
    const due = Date.now() + wait;
    this.#timers.set(MAIN, wait, () => {
      // A late timer tells of a machine that slept or a page in the background: the server may have answered by now.
      const isLate = Date.now() - due > this.#grace;
      const left = this.#heardAt + this.#interval - performance.now();
      if (this.#isAsked && (isLast || !isLate)) this.#end(BROKEN, "no sign of life");
      else if (isLate || left <= 0) this.#probe(this.#isAsked);
      else this.#watch(left);
    });
  }

  /** Asks for a sign of life. */
  #probe(isLast = false): void {
    if (this.#state !== "open") return;
    this.#isAsked = true;
    this.#socket!.send(this.#call(this.#isV1 ? "ping" : "$ping").text);
    this.#watch(this.#grace, isLast);
  }

  get #grace(): number {
    return this.#options.heartbeat?.grace ?? DEFAULT_GRACE;
  }

  // The page.

  /** The network is back. */
  #wake(): void {
    this.#probe();
    if (this.#state === "waiting" && !this.#isSuspended) {
      this.#timers.set(MAIN, Math.max(0, this.#notBefore - performance.now()), () => this.#dial());
    }
  }

  /** The page goes away, perhaps for good. */
  #suspend(): void {
    if (this.#isSuspended) return;
    this.#isSuspended = true;
    this.#drop();
    this.#set("waiting", CloseCode.GOING_AWAY, "the page is hidden");
  }

  #resume(): void {
    if (!this.#isSuspended) return this.#probe();
    this.#isSuspended = false;
    this.#dial();
  }

  // The token.

  /** Plans the next refresh, at a random time in the last third of what is left. */
  #planRefresh(): void {
    const { left, isRenewable } = this.#token;
    if (this.#isV1 || !isRenewable || left <= 0 || left === Infinity) return;
    const wait = Math.max(1000, left * (0.7 + Math.random() * 0.2));
    this.#timers.set(REFRESH, wait, () => {
      if (wait > LONGEST_TIMER) this.#planRefresh();
      else this.#refresh(false);
    });
  }

  async #refresh(isOrder: boolean): Promise<void> {
    const turn = this.#turn;
    try {
      const token = await this.#token.fetch();
      if (turn !== this.#turn) return;
      if (!token) return this.#close(ErrorCode.UNAUTHORIZED, "there is no token yet");
      const reply = await this.#ask("$refresh", { token });
      if (turn !== this.#turn) return;
      this.#token.accept(reply?.ttl);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#emitter.report({ error });
      const isRefused = error instanceof AntiphonError && !error.temporary;
      if (isOrder && isRefused) return this.#end(CloseCode.FORCE_RECONNECT, "another token");
    }
    this.#planRefresh();
  }
}

function closed(reason?: string): AntiphonError {
  return new AntiphonError("closed", reason || "the client is closed");
}

function full(): AntiphonError {
  return new AntiphonError("full", "too much waits already", true);
}

function refusal({ code, errorMsg, temporary, retryAfterMs }: any): AntiphonError {
  return new AntiphonError(code, errorMsg, temporary, retryAfterMs);
}
