// When the client comes back, and when it stays away.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Backoff, LONGEST_ORDER } from "../src/backoff.js";
import { CloseCode, reconnects } from "../src/index.js";
import { open, pass, realTime, scene, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

describe("a close code", () => {
  const standard = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015];
  const own = [3000, 3499, 3500, 3999, 4000, 4499, 4500, 4999];
  const yes = [1001, 1006, 1011, 1012, 1013, 3000, 3499, 4000, 4499];

  it.each([...standard, ...own])("%d is obeyed", async (code) => {
    const { client, server } = await open();
    server.socket.end(code, "why");
    expect(client.state).toBe(yes.includes(code) ? "waiting" : "closed");
    expect(reconnects(code)).toBe(yes.includes(code));
  });

  it.each(Object.values(CloseCode))("%d of the table is obeyed, with and without its notice", async (code) => {
    for (const how of ["goodbye", "end"] as const) {
      const { client, server, states } = await open();
      server.socket[how](code);
      expect(states.at(-1)).toMatchObject({ state: reconnects(code) ? "waiting" : "closed", code });
      client.disconnect();
    }
  });

  it("of the notice counts where the Close got lost", async () => {
    const { server, states } = await open();
    server.socket.push("$disconnect", { code: 3503, reason: "kicked", reconnect: false, delayMs: 0 });
    server.socket.end(1006);
    expect(states.at(-1)).toMatchObject({ state: "closed", code: 3503, reason: "kicked" });
  });
});

describe("a client that waits", () => {
  it("waits longer from time to time, and begins anew after a good connection", async () => {
    const { client, server, states } = scene({ reconnect: { first: 100, longest: 1000 } }, (s) => (s.isUp = false));
    const delays = () => states.filter(({ state }) => state === "waiting").map(({ delay }) => delay);
    client.connect();
    await pass(4000);
    expect(delays().slice(0, 6)).toEqual([100, 200, 400, 800, 1000, 1000]);
    server.isUp = true;
    await pass(1000);
    expect(client.state).toBe("open");
    server.socket.end(1006);
    expect(delays().at(-1)).toBe(1000);
    await pass(1000);
    await pass(10_000);
    server.socket.end(1006);
    expect(delays().at(-1)).toBe(100);
  });

  it("waits as long as the server says, and no longer", async () => {
    const { client, server, states } = await open();
    server.socket.goodbye(1012, 20_000, "restart");
    expect(states.at(-1)).toMatchObject({ state: "waiting", code: 1012, reason: "restart", delay: 20_000 });
    await pass(19_999);
    expect(server.sockets).toHaveLength(1);
    await pass(1);
    expect(client.state).toBe("open");
    server.socket.end(1006);
    expect(states.at(-1)!.delay).toBeLessThan(20_000);
  });

  it("connects at once when it is asked to", async () => {
    const { client, server } = await open();
    server.socket.goodbye(1012, 20_000);
    client.connect();
    await soon();
    expect([client.state, server.mostAlive]).toEqual(["open", 1]);
    await pass(20_000);
    expect(server.sockets).toHaveLength(2);
  });

  it("does not wait but close where it is not to reconnect", async () => {
    const { server, states } = await open({ reconnect: false });
    server.socket.end(1006);
    expect(states.at(-1)).toMatchObject({ state: "closed", code: 1006 });
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the schedule", () => {
  const upTo = (max: number) => fc.integer({ min: 1, max });
  const options = fc.record({ first: upTo(60_000), longest: upTo(600_000) });
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  it("is random between nothing and a bound that doubles to the longest; the server is never undercut", () => {
    const step = fc.record({ chance, ordered: fc.integer({ min: 0, max: 2 * LONGEST_ORDER }), reset: fc.boolean() });
    fc.assert(
      fc.property(options, fc.array(step, { maxLength: 80, size: "max" }), ({ first, longest }, steps) => {
        const backoff = new Backoff({ first, longest });
        let attempt = 0;
        for (const { chance, ordered, reset } of steps) {
          if (reset) {
            backoff.reset();
            attempt = 0;
          }
          vi.spyOn(Math, "random").mockReturnValue(chance);
          const wait = backoff.next(ordered);
          const bound = Math.min(longest, first * 2 ** attempt++);
          const order = Math.min(ordered, LONGEST_ORDER);
          expect(wait).toBeGreaterThanOrEqual(order);
          expect(wait).toBeLessThanOrEqual(Math.max(bound, order));
          expect(wait).toBe(Math.max(chance * bound, order));
        }
      }),
    );
  });

  it("spreads: half of the waits are in each half of the bound", () => {
    vi.mocked(Math.random).mockRestore();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), (attempts) => {
        let low = 0;
        for (let n = 0; n < 400; n++) {
          const backoff = new Backoff(undefined);
          for (let i = 1; i < attempts; i++) backoff.next(0);
          if (backoff.next(0) < Math.min(30_000, 500 * 2 ** (attempts - 1)) / 2) low++;
        }
        expect(low).toBeGreaterThan(120);
        expect(low).toBeLessThan(280);
      }),
      { numRuns: 12 },
    );
  });

  it("never becomes anything but a number, however often it fails", () => {
    const backoff = new Backoff({ first: 0 });
    for (let n = 0; n < 2000; n++) expect(backoff.next(0)).toBe(0);
  });
});
