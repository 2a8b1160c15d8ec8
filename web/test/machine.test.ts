// Whatever happens, in whatever order: what must stay true of a client.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { Options } from "../src/index.js";
import { pass, realTime, Refusal, scene, type Scene, session, SILENCE, soon } from "./fake.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(realTime);

/** A scene with its history: what was sent in which order, and how often each request was settled. */
interface World extends Scene {
  next: number;
  accepted: number[];
  settled: Map<number, number>;
}

type Step = (world: World) => unknown;

/** Every step that a world may take, by name: a counterexample reads as a story. */
const steps: Record<string, Step> = {
  connect: ({ client }) => client.connect(),
  disconnect: ({ client }) => client.disconnect(),
  send: (world) => {
    const n = world.next++;
    if (world.client.send("e", n)) world.accepted.push(n);
  },
  request: (world) => request(world, {}),
  "request that is short": (world) => request(world, { timeout: 50 }),
  "request that is taken back": (world) => {
    const controller = new AbortController();
    request(world, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
  },
  join: ({ client, next }) => void client.join(`t${next % 3}`).catch(() => {}),
  leave: ({ client, next }) => void client.leave(`t${next % 3}`).catch(() => {}),
  "set a token": ({ client }) => client.setToken("T"),
  "set a function": ({ client }) => client.setToken(slowToken),
  "set no token": ({ client }) => client.setToken(null),
  "the network breaks": ({ server }) => server.socket?.end(1006),
  "the server restarts": ({ server }) => server.socket?.goodbye(1012, 300),
  "the server kicks": ({ server }) => server.socket?.goodbye(3503),
  "the token is over": ({ server }) => server.socket?.goodbye(3004),
  "the server goes down": ({ server }) => (server.isUp = false),
  "the server hangs": ({ server }) => (server.isUp = "never"),
  "the server is up": ({ server }) => (server.isUp = true),
  "the server is mute": ({ server }) => (server.isMute = true),
  "the server speaks": ({ server }) => (server.isMute = false),
  "tokens are refused": ({ server }) => (server.login = () => new Refusal(101)),
  "tokens are taken": ({ server }) => (server.login = login),
  "an event comes": ({ server }) => server.socket?.push("e", 1),
  "a heartbeat comes": ({ server }) => server.socket?.write({}),
  "rubbish comes": ({ server }) => server.socket?.raw("{"),
  "a moment passes": () => pass(30),
  "a second passes": () => pass(1000),
  "a minute passes": () => pass(60_000),
};

function slowToken(): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve("T"), 25));
}

/** So slow a server that the queue is emptied in parts. */
function login() {
  return session({ limits: { tags: 128, rate: 2, burst: 2 } });
}

function request(world: World, options: object): void {
  const n = world.next++;
  world.settled.set(n, 0);
  const count = () => void world.settled.set(n, world.settled.get(n)! + 1);
  world.client.request("ask", n, options).then(count, count);
}

function check({ client, server }: World): void {
  expect(server.mostAlive).toBeLessThanOrEqual(1);
  const { state } = client;
  expect(server.alive.length).toBeLessThanOrEqual(state === "open" || state === "connecting" ? 1 : 0);
  expect(client.session !== null).toBe(state === "open");
}

const story = fc.array(fc.constantFrom(...Object.keys(steps)), { maxLength: 60, size: "max" });
const options: fc.Arbitrary<Options> = fc.record({
  token: fc.constantFrom(undefined, null, "T", slowToken),
  queue: fc.record({ limit: fc.integer({ min: 0, max: 8 }) }),
  reconnect: fc.constant({ first: 20, longest: 500 }),
  connectTimeout: fc.constant(2000),
  timeout: fc.constant(3000),
});

async function live(options: Options, names: string[]): Promise<World> {
  const base = scene(options, (server) => {
    server.login = login;
    server.answers["ask"] = (n) => (n % 3 ? n : SILENCE);
    server.answers["e"] = () => undefined;
  });
  const world: World = { ...base, next: 0, accepted: [], settled: new Map() };
  for (const name of names) {
    await steps[name]!(world);
    check(world);
    await soon();
    check(world);
  }
  return world;
}

describe("a client, whatever happens", () => {
  it("has one socket at most, and after disconnect() no timer, no socket and no request", async () => {
    await fc.assert(
      fc.asyncProperty(options, story, async (options, names) => {
        const world = await live(options, names);
        world.client.disconnect();
        await soon();
        await pass(50);
        check(world);
        expect(vi.getTimerCount()).toBe(0);
        expect(world.server.alive).toEqual([]);
        for (const [n, times] of world.settled) expect([n, times]).toEqual([n, 1]);
        const sockets = world.server.sockets.length;
        await pass(120_000);
        expect([world.client.state, world.server.sockets.length]).toEqual(["closed", sockets]);
        vi.clearAllTimers();
      }),
      { numRuns: 150 },
    );
  }, 120_000);

  it("sends what it has accepted in its order, and nothing twice", async () => {
    await fc.assert(
      fc.asyncProperty(options, story, async (options, names) => {
        const world = await live(options, names);
        const sent = world.server.sockets.flatMap((socket) => socket.sent);
        const mine = sent.filter(({ event }) => event === "e" || event === "ask");
        const numbers = mine.map(({ data }) => data as number);
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        world.client.disconnect();
        vi.clearAllTimers();
      }),
      { numRuns: 150 },
    );
  }, 120_000);

  it("loses nothing that waits, where nothing is closed and there is room", async () => {
    const gentle = Object.keys(steps).filter((name) => !/disconnect|kick|token|refused|mute/.test(name));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...gentle), { maxLength: 40, size: "max" }), async (names) => {
        const world = await live({ queue: { limit: 100 }, reconnect: { first: 20, longest: 500 } }, names);
        world.server.isUp = true;
        world.client.connect();
        await pass(120_000);
        expect(world.client.state).toBe("open");
        const sent = world.server.sockets.flatMap((socket) => socket.sent).filter(({ event }) => event === "e");
        expect(sent.map(({ data }) => data)).toEqual(world.accepted);
        world.client.disconnect();
        vi.clearAllTimers();
      }),
      { numRuns: 100 },
    );
  }, 120_000);
});
