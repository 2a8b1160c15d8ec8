// A server that speaks the wire, and sockets that lead to it. Everything arrives a microtask later; nothing takes time.

import { vi } from "vitest";

import { Client, type Options, type Session, type StateChange } from "../src/index.js";

/** An answer that refuses. */
export class Refusal {
  constructor(
    readonly code: number,
    readonly more: { errorMsg?: string; temporary?: boolean; retryAfterMs?: number } = {},
  ) {}
}

/** No answer at all. */
export const SILENCE = Symbol("silence");

export class FakeSocket {
  readyState = 0;
  protocol = "";
  bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  /** What the client has sent, parsed. */
  readonly sent: any[] = [];

  constructor(
    readonly server: Server,
    readonly url: string,
    readonly protocols: string[],
  ) {
    server.sockets.push(this);
    server.mostAlive = Math.max(server.mostAlive, server.alive.length);
    if (server.isUp === "never") return;
    queueMicrotask(() => (server.isUp ? this.accept() : this.end(1006)));
  }

  /** The names of the events that were sent. */
  get events(): string[] {
    return this.sent.map(({ event }) => event ?? "{}");
  }

  accept(): void {
    if (this.readyState !== 0) return;
    this.readyState = 1;
    this.protocol = this.server.agrees(this.protocols);
    this.onopen?.();
    if (this.server.welcome) this.push("$connected", this.server.welcome);
  }

  send(text: string): void {
    if (this.readyState === 0) throw new Error("InvalidStateError");
    if (this.readyState !== 1) return;
    const message = JSON.parse(text);
    this.sent.push(message);
    queueMicrotask(() => this.server.handle(this, message));
  }

  close(code: number): void {
    if (this.readyState > 1) return;
    this.readyState = 2;
    queueMicrotask(() => this.end(code));
  }

  /** Whatever the server sends. */
  raw(data: unknown): void {
    if (this.readyState === 1) this.onmessage?.({ data });
  }

  write(message: unknown): void {
    this.raw(JSON.stringify(message));
  }

  push(event: string, data?: unknown, more: object = {}): void {
    this.write({ event, ...more, data, code: 0, timestamp: 1795177846 });
  }

  /** The connection is over. */
  end(code: number, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** As the server closes on v2: the notice, then the Close. */
  goodbye(code: number, delayMs = 0, reason = ""): void {
    this.push("$disconnect", { code, reason, reconnect: true, delayMs });
    this.end(code, reason);
  }
}

export class Server {
  readonly sockets: FakeSocket[] = [];
  /** Most sockets that were alive at the same time. */
  mostAlive = 0;
  /** Whether connections succeed; `"never"`: they neither succeed nor fail. */
  isUp: boolean | "never" = true;
  /** Nothing is answered. */
  isMute = false;
  /** The handshake lets clients in, with this session. */
  welcome: Session | undefined;
  /** The tokens that were shown, by `$connect` and `$refresh`. */
  readonly tokens: unknown[] = [];
  login: (data: any) => unknown = () => session();
  agrees: (protocols: string[]) => string = (protocols) => protocols[0] ?? "";
  /** Answers to events, before the usual ones; `undefined` is an answer without data. */
  readonly answers: Record<string, (data: any, socket: FakeSocket) => unknown> = {};

  /** The constructor of sockets that lead here. */
  get WebSocket(): unknown {
    const server = this;
    return function (url: string, protocols: string[]) {
      return new FakeSocket(server, url, protocols);
    };
  }

  /** The latest socket. */
  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  /** The sockets that nobody has begun to close. */
  get alive(): FakeSocket[] {
    return this.sockets.filter(({ readyState }) => readyState < 2);
  }

  handle(socket: FakeSocket, message: any): void {
    if (this.isMute || socket.readyState !== 1 || message.event === undefined) return;
    const { event, id, data } = message;
    const answer = this.#answer(socket, event, data);
    if (answer === SILENCE) return;
    const isV2 = socket.protocol === "antiphon.v2.json";
    if (answer instanceof Refusal) {
      const code = isV2 ? answer.code : -1;
      socket.write({ event, id, code, errorMsg: "refused", timestamp: 1, ...answer.more });
    } else if (isV2 ? id !== undefined : answer !== undefined || event === "ping") {
      socket.write({ event, id, data: answer, code: 0, timestamp: 1 });
    }
  }

  #answer(socket: FakeSocket, event: string, data: any): unknown {
    const own = this.answers[event];
    if (own) return own(data, socket);
    switch (event) {
      case "$connect":
        this.tokens.push(data.token);
        return this.welcome ?? this.login(data);
      case "$refresh":
        this.tokens.push(data.token);
        return { ttl: 1000 };
      case "$subscribe":
        return { offset: 0, epoch: "e" };
      case "join":
        return [data.id];
      case "quit":
        return [];
      case "$unsubscribe":
      case "$ping":
      case "ping":
        return undefined;
      default:
        return new Refusal(104);
    }
  }
}

export function session(more: Partial<Session> = {}): Session {
  const limits = { tags: 128, rate: 100, burst: 200 };
  return { client: "5f0c", node: "a", user: "42", ping: 25, pong: false, time: 0, tags: [], limits, ...more };
}

/** A server, a client of it, and what the client has told of its states and failures. */
export interface Scene {
  server: Server;
  client: Client;
  states: StateChange[];
  errors: any[];
  /** The states in their order, in a word each. */
  path: () => string;
}

export function scene(options: Options = {}, setUp: (server: Server) => void = () => {}): Scene {
  const server = new Server();
  setUp(server);
  const client = new Client("wss://example.com/socket", { WebSocket: server.WebSocket, ...options });
  const states: StateChange[] = [];
  const errors: any[] = [];
  client.on("$state", (change) => states.push(change));
  client.on("$error", (failure) => errors.push(failure));
  return { server, client, states, errors, path: () => states.map(({ state }) => state).join(" ") };
}

/** A scene whose client is open. */
export async function open(options: Options = {}, setUp?: (server: Server) => void): Promise<Scene> {
  const made = scene(options, setUp);
  made.client.connect();
  await soon();
  if (made.client.state !== "open") throw new Error(`not open but ${made.client.state}`);
  return made;
}

/** Lets everything happen that takes no time. */
export async function soon(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export async function pass(milliseconds: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
}

/** What a promise has come to: its value, its error, or `"pending"`. */
export async function outcome(promise: Promise<unknown>): Promise<any> {
  let result: unknown = "pending";
  promise.then(
    (value) => (result = value),
    (error) => (result = error),
  );
  await soon();
  return result;
}

/** Virtual time, and waits that are always the longest that chance allows. */
export function virtualTime(): void {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(1);
}

export function realTime(): void {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
}
