// Sends, requests, and what waits while there is no connection.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Calls } from "../src/calls.js";
import { AntiphonError } from "../src/index.js";
import { open, outcome, pass, realTime, Refusal, scene, session, SILENCE, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

const silent = (server: any) => (server.answers["ask"] = () => SILENCE);

describe("a request", () => {
  it("resolves with the data of its reply", async () => {
    const { client, server } = await open({}, (server) => (server.answers["sum"] = ([a, b]) => a + b));
    expect(await outcome(client.request("sum", [1, 2], { ch: "room" }))).toBe(3);
    expect(server.socket.sent.at(-1)).toEqual({ event: "sum", id: 2, ch: "room", data: [1, 2] });
  });

  it("gets its own reply, whatever the order", async () => {
    const { client, server } = await open({}, silent);
    const replies = [client.request("ask", 1), client.request("ask", 2)];
    server.socket.write({ event: "ask", id: 3, code: 0, data: "second" });
    server.socket.write({ event: "ask", id: 2, code: 0, data: "first" });
    expect(await Promise.all(replies)).toEqual(["first", "second"]);
  });

  it("rejects with the server's error", async () => {
    const refusal = new Refusal(111, { errorMsg: "too many", temporary: true, retryAfterMs: 250 });
    const { client } = await open({}, (server) => (server.answers["ask"] = () => refusal));
    const error = await outcome(client.request("ask"));
    expect(error).toBeInstanceOf(AntiphonError);
    expect(error).toMatchObject({ code: 111, message: "too many", temporary: true, retryAfter: 250 });
    expect(vi.getTimerCount()).toBe(1);
  });

  it.each([
    ["its own time", {}, { timeout: 100 }, 100],
    ["the client's", { timeout: 200 }, {}, 200],
    ["the default", {}, {}, 15_000],
  ])("fails with timeout after %s", async (_name, options, own, time) => {
    const { client } = await open(options, silent);
    const reply = outcome(client.request("ask", null, own));
    const late = client.request("ask", null, own).catch((error) => error.code);
    await pass(time - 1);
    expect(await reply).toBe("pending");
    await pass(1);
    expect(await late).toBe("timeout");
  });

  it("waits for ever where it is told to", async () => {
    const { client } = await open({}, silent);
    const reply = client.request("ask", null, { timeout: Infinity });
    await pass(100_000);
    expect(await outcome(reply)).toBe("pending");
  });

  it("is taken back by its signal, and leaves nothing behind", async () => {
    const { client, server } = await open({}, silent);
    const controller = new AbortController();
    const remove = vi.spyOn(controller.signal, "removeEventListener");
    const reply = client.request("ask", null, { signal: controller.signal });
    controller.abort();
    expect(await outcome(reply)).toMatchObject({ name: "AbortError" });
    expect(remove).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(1);
    const sent = server.socket.sent.length;
    expect(await outcome(client.request("ask", null, { signal: AbortSignal.abort("why") }))).toBe("why");
    expect(server.socket.sent).toHaveLength(sent);
  });

  it("that a signal takes out of the queue is never sent", async () => {
    const { client, server } = scene();
    const controller = new AbortController();
    const reply = outcome(client.request("ask", null, { signal: controller.signal }));
    client.send("other");
    controller.abort();
    expect(await reply).toMatchObject({ name: "AbortError" });
    client.connect();
    await soon();
    expect(server.socket.events).toEqual(["$connect", "other"]);
  });

  it("is lost when the connection ends before its reply, and not sent again", async () => {
    const { client, server } = await open({}, silent);
    const reply = client.request("ask");
    server.socket.end(1006);
    expect(await outcome(reply)).toMatchObject({ code: "lost", temporary: true });
    await pass(1000);
    expect(server.socket.events).toEqual(["$connect"]);
  });

  it("fails where its data is no JSON, and harms nobody", async () => {
    const { client, server } = await open();
    expect(await outcome(client.request("ask", 1n))).toBeInstanceOf(TypeError);
    expect(() => client.send("ask", 1n)).toThrow(TypeError);
    expect(server.socket.events).toEqual(["$connect"]);
    expect(vi.getTimerCount()).toBe(1);
  });

  it.each(["request", "send"] as const)("%s fails at once on a client that is closed", async (what) => {
    const { client } = await open();
    client.disconnect();
    const result = client[what]("a");
    if (what === "send") expect(result).toBe(false);
    else expect(await outcome(result as Promise<unknown>)).toMatchObject({ code: "closed", temporary: false });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("that waits when the client closes fails with closed; one that was sent is lost", async () => {
    const { client, server } = await open({}, silent);
    const sent = outcome(client.request("ask"));
    server.socket.end(1006);
    const waiting = outcome(client.request("ask"));
    client.disconnect();
    expect([await sent, await waiting]).toMatchObject([{ code: "lost" }, { code: "closed" }]);
  });

  it("beyond a thousand at once fails with full", async () => {
    const { client } = await open({}, silent);
    const replies = Array.from({ length: 1001 }, () => client.request("ask"));
    replies.slice(0, 1000).forEach((reply) => reply.catch(() => {}));
    expect(await outcome(replies[1000]!)).toMatchObject({ code: "full" });
    client.disconnect();
  });
});

describe("the queue", () => {
  it("keeps the order of what is sent while there is no connection, and takes a snapshot of it", async () => {
    const { client, server } = scene({}, (server) => (server.answers["b"] = () => "reply"));
    const data = { text: "before" };
    expect(client.send("a", data)).toBe(true);
    data.text = "after";
    const reply = client.request("b");
    client.send("c", undefined, { ch: "room" });
    client.connect();
    await soon();
    expect(server.socket.sent.slice(1)).toEqual([
      { event: "a", data: { text: "before" } },
      { event: "b", id: 1 },
      { event: "c", ch: "room" },
    ]);
    expect(await reply).toBe("reply");
  });

  it("goes before what a handler sends that hears of the new connection", async () => {
    const { client, server } = scene();
    client.on("$state", ({ state }) => state === "open" && client.send("handler"));
    client.send("queued");
    client.connect();
    await soon();
    expect(server.socket.events).toEqual(["$connect", "queued", "handler"]);
  });

  it("does not take what is not worth sending later", async () => {
    const { client, server, errors } = scene();
    expect(client.send("typing", 1, { volatile: true })).toBe(false);
    client.connect();
    await soon();
    expect(client.send("typing", 2, { volatile: true })).toBe(true);
    expect(server.socket.sent.slice(1)).toEqual([{ event: "typing", data: 2 }]);
    await soon();
    expect(errors).toHaveLength(1);
  });

  it.each([
    ["reject", ["a", "b"], [true, true, false], 1],
    ["drop-newest", ["a", "b"], [true, true, false], 0],
    ["drop-oldest", ["b", "c"], [true, true, true], 0],
  ] as const)("that is full does what its policy says: %s", async (overflow, sent, accepted, failures) => {
    const { client, server, errors } = scene({ queue: { limit: 2, overflow } });
    expect(["a", "b", "c"].map((event) => client.send(event))).toEqual(accepted);
    expect(errors.map(({ error, event }) => [error.code, event])).toEqual(failures ? [["full", "c"]] : []);
    client.connect();
    await soon();
    expect(server.socket.events.slice(1)).toEqual(sent);
  });

  it.each([
    ["reject", 2],
    ["drop-newest", 2],
    ["drop-oldest", 0],
  ] as const)("always tells a request that it has no room: %s", async (overflow, loser) => {
    const { client } = scene({ queue: { limit: 2, overflow } });
    const replies = [client.request("a"), client.request("b"), client.request("c")].map(outcome);
    for (const [index, result] of (await Promise.all(replies)).entries()) {
      if (index === loser) expect(result).toMatchObject({ code: "full", temporary: true });
      else expect(result).toBe("pending");
    }
    client.disconnect();
  });

  it("holds a hundred if nothing else is said", async () => {
    const { client } = scene();
    const accepted = Array.from({ length: 101 }, () => client.send("a"));
    expect(accepted.filter(Boolean)).toHaveLength(100);
  });

  it("is emptied no faster than the server takes it, and keeps its order meanwhile", async () => {
    const limits = { tags: 128, rate: 10, burst: 20 };
    const { client, server } = scene({}, (server) => (server.login = () => session({ limits })));
    for (let n = 0; n < 20; n++) client.send("e", n);
    client.connect();
    await soon();
    const sent = () => server.socket.sent.slice(1).map(({ data }) => data);
    expect(sent()).toHaveLength(10);
    client.send("e", 20);
    await pass(1000);
    expect(sent()).toHaveLength(15);
    await pass(2000);
    expect(sent()).toEqual(Array.from({ length: 21 }, (_, n) => n));
    client.send("e", 21);
    expect(sent()).toHaveLength(22);
    expect(vi.getTimerCount()).toBe(1);
  });

  it("is emptied at a rate of its own where the server names none", async () => {
    const { client, server } = scene({}, (server) => (server.login = () => ({})));
    for (let n = 0; n < 100; n++) client.send("e", n);
    client.connect();
    await soon();
    expect(server.socket.sent).toHaveLength(51);
    await pass(1000);
    expect(server.socket.sent).toHaveLength(101);
  });

  it("takes what comes while the socket closes, and sends it on the next one", async () => {
    const { client, server } = await open({}, (server) => (server.answers["b"] = () => 1));
    const first = server.socket;
    first.push("$disconnect", { code: 1012, reason: "restart", delayMs: 0 });
    client.send("a");
    const reply = client.request("b");
    first.readyState = 2;
    client.send("c");
    first.end(1012);
    await pass(500);
    expect(first.events).toEqual(["$connect"]);
    expect(server.socket.events).toEqual(["$connect", "a", "b", "c"]);
    expect(await reply).toBe(1);
  });

  it("waits for the next connection where the socket closes while it is emptied", async () => {
    const { client, server } = await open();
    server.socket.readyState = 2;
    client.send("a");
    await pass(1000);
    server.socket.end(1006);
    await pass(500);
    expect(server.socket.events).toEqual(["$connect", "a"]);
  });
});

describe("a network that is slower than the application", () => {
  it("refuses what would only wait in the socket", async () => {
    const { client, server, errors } = await open();
    server.socket.bufferedAmount = 2 ** 20 + 1;
    expect(client.send("a")).toBe(false);
    expect(errors).toMatchObject([{ event: "a", error: { code: "full" } }]);
    expect(await outcome(client.request("a"))).toMatchObject({ code: "full", temporary: true });
    server.socket.bufferedAmount = 2 ** 20;
    expect(client.send("a")).toBe(true);
  });
});

it("a call is settled once, whatever comes later", () => {
  const calls = new Calls();
  const done = vi.fn();
  const call = { id: 1, event: "a", text: "" } as Parameters<Calls["open"]>[0];
  calls.open(call, 10, undefined, done);
  call.settle!(undefined, "first");
  call.settle!(new Error("second"));
  expect(done.mock.calls).toEqual([[undefined, "first"]]);
  expect([calls.size, vi.getTimerCount()]).toEqual([0, 0]);
});
