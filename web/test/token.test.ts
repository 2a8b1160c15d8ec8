// Tokens: fetched, kept, brought anew before they are over, refused, late.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { Options } from "../src/index.js";
import { open, pass, realTime, Refusal, scene, session, SILENCE, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

/** A function that gives T1, T2 and so on. */
const counting = () => {
  let count = 0;
  return vi.fn(async (_last?: string) => `T${++count}`);
};

describe("a function for tokens", () => {
  it("is asked for the first login, and its token kept for the next ones", async () => {
    const token = counting();
    const { server } = await open({ token });
    server.socket.end(1006);
    await pass(500);
    expect(server.tokens).toEqual(["T1", "T1"]);
    expect(token.mock.calls).toEqual([[undefined]]);
  });

  it("is asked again when its token was over by the time of the next login", async () => {
    const { server } = await open({ token: counting() }, (server) => (server.login = () => session({ ttl: 5 })));
    server.isUp = false;
    server.socket.end(1006);
    await pass(5000);
    server.isUp = true;
    server.login = () => session();
    await pass(30_000);
    expect(server.tokens).toEqual(["T1", "T2"]);
  });

  it("is not asked again for a login that the network has prevented", async () => {
    const token = counting();
    const { client, server } = scene({ token }, (server) => (server.isUp = false));
    client.connect();
    await pass(20_000);
    expect(server.sockets.length).toBeGreaterThan(3);
    expect(token).toHaveBeenCalledTimes(1);
  });

  it("is asked again for a handshake that failed with its token in it: no reason is told there", async () => {
    const { client, server } = scene({ token: counting(), tokenIn: "query" }, (server) => (server.isUp = false));
    client.connect();
    await pass(500);
    expect(server.sockets.map(({ url }) => url.split("=")[1])).toEqual(["T1", "T2"]);
  });

  it("that fails is told, and asked again later", async () => {
    const error = new Error("no network");
    const token = vi.fn().mockRejectedValueOnce(error).mockResolvedValue("T");
    const { client, errors, states } = scene({ token });
    client.connect();
    await soon();
    expect(errors).toEqual([{ error }]);
    expect(states.at(-1)).toMatchObject({ state: "waiting", delay: 500 });
    await pass(500);
    expect(client.state).toBe("open");
  });

  it("may throw, and may give a token at once", async () => {
    const token = vi.fn().mockImplementationOnce(() => {
      throw new Error("no");
    });
    token.mockReturnValue("T");
    const { client, server } = scene({ token });
    client.connect();
    await pass(500);
    expect(server.tokens).toEqual(["T"]);
  });

  it("that never answers does not hold the client up for ever", async () => {
    const token = vi.fn(() => new Promise<string>(() => {}));
    const { client } = scene({ token });
    client.connect();
    await pass(15_000);
    expect(client.state).toBe("waiting");
    await pass(500);
    expect(token).toHaveBeenCalledTimes(2);
  });

  it.each(["resolve", "reject"] as const)("that answers too late (%s) changes nothing", async (how) => {
    let settle: any;
    const token = () => new Promise<string>((resolve, reject) => (settle = { resolve, reject }));
    const { client, server, errors } = scene({ token });
    client.connect();
    await soon();
    client.disconnect();
    settle[how]("T");
    await soon();
    expect([client.state, server.sockets, errors]).toEqual(["closed", [], []]);
  });
});

describe("a refused token", () => {
  const refuse = (code: number, close: number) => (server: any) => {
    server.login = ({ token }: any) => {
      if (token === "good") return session();
      queueMicrotask(() => server.socket.goodbye(close));
      return new Refusal(code);
    };
  };

  it.each([
    ["a string, over", "bad", 109, 3004, "closed", 1],
    ["a string, no good", "bad", 101, 3500, "closed", 1],
    ["a new one of a function, no good", ["bad", "good"], 101, 3500, "closed", 1],
    ["a new one of a function, over", ["bad", "good"], 109, 3004, "open", 2],
    ["two of a function, over", ["bad", "bad", "good"], 109, 3004, "closed", 2],
  ])("%s", async (_name, tokens, code, close, state, logins) => {
    const given = [...tokens];
    const token = typeof tokens === "string" ? tokens : vi.fn(() => given.shift()!);
    const { client, server, states } = scene({ token }, refuse(code, close));
    client.connect();
    await pass(60_000);
    expect(client.state).toBe(state);
    expect(server.tokens).toHaveLength(logins);
    if (state === "closed") {
      expect(states.at(-1)!.code).toBe(close);
      expect(vi.getTimerCount()).toBe(0);
    }
    client.disconnect();
  });

  it("that had been let in before is replaced, once", async () => {
    const token = counting();
    const { client, server } = await open({ token });
    server.login = ({ token }) => {
      if (token !== "T1") return session();
      queueMicrotask(() => server.socket.goodbye(3500));
      return new Refusal(101);
    };
    server.socket.end(1006);
    await pass(5000);
    expect(client.state).toBe("open");
    expect(server.tokens).toEqual(["T1", "T1", "T2"]);
    expect(token.mock.calls).toEqual([[undefined], ["T1"]]);
  });

  it("whose time is over in the middle of a connection is replaced", async () => {
    const { client, server } = await open({ token: counting() });
    server.socket.goodbye(3004);
    await pass(500);
    expect(client.state).toBe("open");
    expect(server.tokens).toEqual(["T1", "T2"]);
  });

  it("that was a cookie is the cookie's matter: it connects again", async () => {
    const { client, server } = await open();
    server.socket.goodbye(3004);
    expect(client.state).toBe("waiting");
    server.socket.goodbye(3500);
    await pass(500);
    server.socket.goodbye(3500);
    expect(client.state).toBe("closed");
  });
});

describe("setToken", () => {
  it("connects a client that has waited for it", async () => {
    for (const empty of [null, "", () => undefined]) {
      const { client, server, states } = scene({ token: empty as Options["token"] });
      client.connect();
      await soon();
      expect(states.at(-1)).toMatchObject({ state: "closed", code: 101, reason: "there is no token yet" });
      expect([server.sockets, vi.getTimerCount()]).toEqual([[], 0]);
      client.setToken("late");
      await soon();
      expect(client.state).toBe("open");
      expect(server.tokens).toEqual(["late"]);
      client.disconnect();
    }
  });

  it("connects a client that the server has closed, whatever the reason", async () => {
    for (const code of [3500, 3503, 3510, 3511]) {
      const { client, server } = await open({ token: "T" });
      server.socket.goodbye(code);
      expect(client.state).toBe("closed");
      client.setToken("T2");
      await soon();
      expect([client.state, server.tokens]).toEqual(["open", ["T", "T2"]]);
    }
  });

  it("connects a client that waits, at once", async () => {
    const { client, server } = await open({ token: "T" });
    server.socket.end(1006);
    client.setToken("T2");
    await soon();
    expect(server.tokens).toEqual(["T", "T2"]);
    client.disconnect();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("replaces the token of an attempt that is under way", async () => {
    const { client, server } = scene({ token: "T" }, (server) => (server.login = () => SILENCE));
    client.connect();
    await soon();
    server.login = () => session();
    client.setToken("T2");
    await soon();
    expect([client.state, server.tokens, server.mostAlive]).toEqual(["open", ["T", "T2"], 1]);
  });

  it("does not wake a client that nobody has told to connect, or that was told not to", async () => {
    const { client, server } = scene({ token: null });
    client.setToken("T");
    await soon();
    expect(client.state).toBe("idle");
    client.connect();
    await soon();
    client.disconnect();
    client.setToken("T2");
    await soon();
    expect([client.state, server.tokens]).toEqual(["closed", ["T"]]);
  });

  it("is shown to the server that the client is connected to", async () => {
    const { client, server } = await open({ token: "T" });
    client.setToken("T2");
    await soon();
    expect(server.socket.sent.at(-1)).toMatchObject({ event: "$refresh", data: { token: "T2" } });
    expect([server.sockets.length, client.state]).toEqual([1, "open"]);
  });

  it("of another user makes it connect anew", async () => {
    const { client, server, states } = await open({ token: "T" });
    server.answers["$refresh"] = () => new Refusal(103);
    client.setToken("T2");
    await soon();
    expect(states.at(-1)).toMatchObject({ state: "waiting", code: 3011 });
    await pass(500);
    expect([client.state, server.tokens]).toEqual(["open", ["T", "T2"]]);
  });

  it("that the server could not look at now stays for the next time", async () => {
    const { client, server, errors } = await open({ token: "T" });
    server.answers["$refresh"] = () => new Refusal(100, { temporary: true });
    client.setToken("T2");
    await soon();
    expect([client.state, errors.length]).toEqual(["open", 1]);
    server.socket.end(1006);
    await pass(500);
    expect(server.tokens).toEqual(["T", "T2"]);
  });

  it("that is empty closes until there is another one", async () => {
    const { client } = await open({ token: "T" });
    client.setToken(null);
    await soon();
    expect(client.state).toBe("closed");
    client.setToken("T2");
    await soon();
    expect(client.state).toBe("open");
  });

  it("twice at once ends with the later one, however late the earlier one comes", async () => {
    const { client, server } = await open({ token: "T" });
    let late: any;
    client.setToken(() => new Promise<string>((resolve) => (late = resolve)));
    client.setToken("T3");
    await soon();
    server.socket.end(1006);
    late("T2");
    await pass(500);
    expect(server.tokens).toEqual(["T", "T3", "T3"]);
  });
});

describe("a token is brought anew", () => {
  const ttl = (seconds: number) => (server: any) => (server.login = () => session({ ttl: seconds }));

  it.each([
    [0, 70_000],
    [0.5, 80_000],
    [1, 89_999],
  ])("in the last third of its time: chance %d, after %d of 100,000 ms", async (chance, due) => {
    vi.spyOn(Math, "random").mockReturnValue(chance);
    const { client, server } = await open({ token: counting() }, ttl(100));
    const beat = setInterval(() => server.socket.write({}), 20_000);
    await pass(due - 1);
    expect(server.tokens).toEqual(["T1"]);
    await pass(1);
    expect(server.tokens).toEqual(["T1", "T2"]);
    // The answer said 1,000 s.
    await pass(600_000);
    expect(server.tokens).toHaveLength(2);
    await pass(400_000);
    expect(server.tokens).toHaveLength(3);
    clearInterval(beat);
    client.disconnect();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is tried again where it failed, while there is time", async () => {
    const { server, errors } = await open({ token: counting() }, ttl(100));
    server.answers["$refresh"] = ({ token }) => (server.tokens.push(token), new Refusal(100, { temporary: true }));
    await pass(99_999);
    expect(errors.length).toBeGreaterThan(1);
    expect(errors.length).toBeLessThan(10);
    expect(server.tokens.length).toBe(errors.length + 1);
    const tries = errors.length;
    await pass(100_000);
    expect(errors.length).toBeLessThanOrEqual(tries + 1);
    expect(server.sockets).toHaveLength(1);
  });

  it("not by a string, which nobody can bring anew; nor where it does not end", async () => {
    for (const [token, seconds] of [
      ["T", 100],
      [counting(), undefined],
    ] as const) {
      const { server } = await open({ token }, ttl(seconds!));
      await pass(300_000);
      expect(server.tokens).toHaveLength(1);
    }
  });

  it("not earlier where its time is longer than any timer", async () => {
    const day = 86_400;
    const { server } = await open({ token: counting(), heartbeat: { interval: 1e9 } }, ttl(60 * day));
    await pass(53.9 * day * 1000);
    expect(server.tokens).toHaveLength(1);
    await pass(6 * day * 1000);
    expect(server.tokens.length).toBeGreaterThan(1);
    expect(server.sockets).toHaveLength(1);
  });

  it("closes where its function has none any more: the user has logged out", async () => {
    const token = vi.fn().mockResolvedValueOnce("T").mockResolvedValue(null);
    const { client, states } = await open({ token }, ttl(100));
    await pass(90_000);
    expect(states.at(-1)).toMatchObject({ state: "closed", code: 101 });
    expect(client.state).toBe("closed");
  });

  it.each(["resolve", "reject"] as const)("changes nothing on another connection (%s)", async (how) => {
    let settle: any;
    const token = vi.fn().mockResolvedValueOnce("T");
    token.mockImplementation(() => new Promise((resolve, reject) => (settle = { resolve, reject })));
    const { client, server, errors } = await open({ token }, ttl(100));
    await pass(90_000);
    server.socket.end(1006);
    await pass(500);
    expect(client.state).toBe("open");
    const { sent } = server.socket;
    settle[how]("T2");
    await soon();
    expect([sent.length, errors, client.state]).toEqual([1, [], "open"]);
  });

  it("changes nothing where the connection ends with the answer", async () => {
    const { client, server } = await open({ token: counting() }, ttl(100));
    server.answers["$refresh"] = (_data, socket) => {
      socket.write({ event: "$refresh", id: socket.sent.at(-1).id, code: 0, data: { ttl: 5 } });
      socket.end(1006);
      return SILENCE;
    };
    server.login = () => session();
    await pass(200_000);
    expect([client.state, server.tokens]).toEqual(["open", ["T1", "T2"]]);
  });

  it("changes nothing where the connection ends before the answer", async () => {
    const { client, server } = await open({ token: counting() }, ttl(100));
    server.answers["$refresh"] = () => SILENCE;
    await pass(90_000);
    server.socket.end(1006);
    await pass(500);
    expect(client.state).toBe("open");
    client.disconnect();
    expect(vi.getTimerCount()).toBe(0);
  });
});
