// Signs of life, and what happens without them.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { open, pass, realTime, session, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

const asked = (socket: any) => socket.events.filter((event: string) => event === "$ping").length;
const every = (seconds: number | undefined) => (server: any) => (server.login = () => session({ ping: seconds! }));

describe("a silent server", () => {
  it.each([
    ["the interval that it announced, and a fifth of it", {}, every(10), 12_000],
    ["25 s where it announced none", {}, every(0), 25_000],
    ["25 s where it does not say", {}, every(undefined), 25_000],
    ["the interval of the client's own", { heartbeat: { interval: 11_000 } }, every(10), 11_000],
  ])("is asked after %s", async (_name, options, setUp, wait) => {
    const { server } = await open(options, setUp);
    await pass(wait - 1);
    expect(asked(server.socket)).toBe(0);
    await pass(1);
    expect(asked(server.socket)).toBe(1);
    await pass(wait);
    expect(asked(server.socket)).toBe(2);
  });

  it.each([
    [{}, 10_000],
    [{ heartbeat: { grace: 500 } }, 500],
  ])("that does not answer (%o) is given up", async (options, grace) => {
    const { client, server, states } = await open(options);
    server.isMute = true;
    await pass(30_000 + grace - 1);
    expect(client.state).toBe("open");
    await pass(1);
    expect(states.at(-1)).toMatchObject({ state: "waiting", code: 1006, reason: "no sign of life" });
    expect(server.alive).toEqual([]);
    server.isMute = false;
    await pass(500);
    expect(client.state).toBe("open");
  });

  it("is not asked while anything comes", async () => {
    const { server } = await open();
    for (let n = 0; n < 20; n++) {
      await pass(20_000);
      if (n % 2) server.socket.push("e");
      else server.socket.write({});
    }
    expect(asked(server.socket)).toBe(0);
  });

  it("that says anything at all, even late, is alive", async () => {
    const { client, server } = await open();
    server.isMute = true;
    await pass(39_999);
    server.socket.push("e");
    await pass(29_999);
    expect([client.state, asked(server.socket)]).toEqual(["open", 1]);
    await pass(10_002);
    expect(client.state).toBe("waiting");
  });
});

describe("a machine that slept", () => {
  /** Time passes, but no timer runs. */
  const sleep = (milliseconds: number) => vi.setSystemTime(Date.now() + milliseconds);

  it("asks as soon as it wakes, and goes on where there is an answer", async () => {
    const { client, server } = await open();
    sleep(3_600_000);
    await pass(30_000);
    expect(asked(server.socket)).toBe(1);
    await pass(20_000);
    expect([client.state, server.sockets.length]).toEqual(["open", 1]);
  });

  it("asks a second time where it slept over the answer, and not a third time", async () => {
    const { client, server } = await open();
    server.isMute = true;
    await pass(30_000);
    sleep(3_600_000);
    await pass(10_000);
    expect([client.state, asked(server.socket)]).toEqual(["open", 2]);
    sleep(3_600_000);
    await pass(10_000);
    expect(client.state).toBe("waiting");
  });

  it("whose clock goes back is not fooled", async () => {
    const { client, server } = await open();
    sleep(-3_600_000);
    server.isMute = true;
    await pass(40_000);
    expect(client.state).toBe("waiting");
  });
});
