// The page's one connection to the server: who is logged in, how the connection is, and the streams that views watch.
import { AntiphonError, Client, type StateChange } from "../../src/index.js";
import { kept } from "../shared/dom.js";
import type { Events, Hello, Requests, Sample } from "./api.js";
import { Cell } from "./lib/cell.js";
import { Ring } from "./lib/ring.js";
import * as http from "./session.js";

/** Ten minutes at one a second. */
const MAX_SAMPLES = 600;
/** Entries of the log that the page holds. */
export const MAX_ENTRIES = 2000;
const REQUEST_TIMEOUT_MS = 10_000;
/** After this long the page asks again what was not answered. */
const AGAIN_MS = 2000;

export type Access = "asking" | "out" | "over" | "in" | "unreachable";
export type LinkState =
  | { name: "connecting" | "open" | "closed" }
  /** `until`: when it is tried again, by the clock of this page. */
  | { name: "waiting"; until: number };

/** Whether somebody is logged in; "over" is a login that has ended while the page was open. */
export const access = new Cell<Access>("asking");
export const state = new Cell<LinkState>({ name: "connecting" });
export const hello = new Cell<Hello | undefined>(undefined);
/** Grows with each connection: who shows data fetches it anew. */
export const epoch = new Cell(0);
/** When something came last, by the clock of this page. */
export const heard = new Cell(0);
export const samples = new Ring<Sample>(MAX_SAMPLES);
/** Grows with each sample. */
export const sampled = new Cell(0);

let csrf = "";
let skew = 0;
let client: Client<Events, Requests> | undefined;

/** The server's clock. */
export function serverNow(): number {
  return Date.now() + skew;
}

/** Asks whether the cookie is still good, and connects if it is. Who has not logged in here has none. */
export async function resume(): Promise<void> {
  if (kept.get("admin") === null) {
    access.set("out");
    return;
  }
  if (access.value !== "unreachable") access.set("asking");
  try {
    const found = await http.session();
    if (found === undefined) leave("out");
    else enter(found);
  } catch {
    access.set("unreachable");
    setTimeout(() => {
      if (access.value === "unreachable") void resume();
    }, AGAIN_MS);
  }
}

export async function login(token: string): Promise<http.LoginResult> {
  const result = await http.login(token);
  if ("session" in result) enter(result.session);
  return result;
}

export async function logout(): Promise<void> {
  const token = csrf;
  leave("out");
  await http.logout(token);
}

function enter(found: http.Session): void {
  csrf = found.csrf;
  kept.set("admin", "in");
  state.set({ name: "connecting" });
  connect();
  access.set("in");
}

function leave(how: "out" | "over"): void {
  csrf = "";
  kept.set("admin", null);
  const ended = client;
  client = undefined;
  ended?.disconnect();
  samples.clear();
  hello.set(undefined);
  access.set(how);
}

function connect(): void {
  client?.disconnect();
  const url = new URL("/socket", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const made = new Client<Events, Requests>(url.href, { token, timeout: REQUEST_TIMEOUT_MS, queue: { limit: 0 } });
  client = made;
  made.on("$state", (change) => {
    if (client === made) void follow(change);
  });
  made.on("sample", (sample) => {
    samples.push(sample);
    heard.set(Date.now());
    sampled.set(sampled.value + 1);
  });
  made.connect();
}

/** The token of the socket is the one of the login, which a look at the cookie brings. */
async function token(): Promise<string | null> {
  const found = await http.session();
  if (found === undefined) {
    leave("over");
    return null;
  }
  csrf = found.csrf;
  return csrf;
}

async function follow({ state: name, delay }: StateChange): Promise<void> {
  switch (name) {
    case "open":
      await greet();
      break;
    case "waiting":
      state.set({ name: "waiting", until: Date.now() + (delay ?? 0) });
      // A refused handshake looks like a broken network: after a restart the server knows no login any more.
      await checkLogin();
      break;
    case "closed":
      state.set({ name: "closed" });
      // The server has refused the token: the page asks for another one where the cookie is no good either.
      await checkLogin();
      break;
    default:
      state.set({ name: "connecting" });
  }
}

async function checkLogin(): Promise<void> {
  const made = client;
  const found = await http.session().catch(() => null);
  if (found === undefined && client === made && access.value === "in") leave("over");
}

async function greet(): Promise<void> {
  const made = client;
  if (made === undefined) return;
  try {
    const sent = Date.now();
    const found = await request("admin/hello", {});
    const got = Date.now();
    if (client !== made) return;
    skew = found.now - (sent + got) / 2;
    samples.clear();
    for (const sample of found.samples) samples.push(sample);
    heard.set(got);
    hello.set(found);
    sampled.set(sampled.value + 1);
    state.set({ name: "open" });
    epoch.set(epoch.value + 1);
    hold("stats");
  } catch {
    // Where the connection has ended again the next state says so; where it stands, it is asked again.
    setTimeout(() => {
      if (client === made && made.state === "open") void greet();
    }, AGAIN_MS);
  }
}

export function connectNow(): void {
  if (client === undefined) void resume();
  else connect();
}

export async function request<Name extends keyof Requests>(
  name: Name,
  data: Parameters<Requests[Name]>[0],
  options: { signal?: AbortSignal } = {},
): Promise<ReturnType<Requests[Name]>> {
  if (client === undefined) throw new AntiphonError("closed", "there is no connection");
  const ask = client.request.bind(client) as (name: string, data: unknown, options: object) => Promise<unknown>;
  const reply = (await ask(name, data, options)) as ReturnType<Requests[Name]>;
  heard.set(Date.now());
  return reply;
}

/** How many hold each channel. */
const holders = new Map<string, number>();

function hold(channel: string): void {
  const made = client;
  made?.join(channel).catch(() => undefined);
}

/** Joins a channel as long as somebody listens; the client joins it again after a reconnect. */
export function listen<Name extends keyof Events>(
  channel: string,
  event: Name,
  handler: (data: Events[Name]) => void,
): () => void {
  const made = client;
  if (made === undefined) return () => undefined;
  const on = made.on.bind(made) as (name: string, heard: (data: Events[Name], message: { ch?: string }) => void) => () => void;
  const off = on(event, (data, message) => {
    if (message.ch === channel) handler(data);
  });
  const count = holders.get(channel) ?? 0;
  holders.set(channel, count + 1);
  if (count === 0) hold(channel);
  return () => {
    off();
    const left = (holders.get(channel) ?? 1) - 1;
    if (left > 0) {
      holders.set(channel, left);
      return;
    }
    holders.delete(channel);
    made.leave(channel).catch(() => undefined);
  };
}
