// Tags: joined, held over reconnects, left; who is in them, and what is published there.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { open, outcome, pass, realTime, Refusal, scene, SILENCE, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

const position = { offset: 0, epoch: "e" };
const sent = (socket: any) => socket.sent.slice(1).map(({ event, data }: any) => `${event} ${data?.ch ?? ""}`.trim());

describe("join", () => {
  it("resolves with the position in the tag", async () => {
    const { client, server } = await open();
    expect(await outcome(client.join("a"))).toEqual(position);
    expect(client.tags).toEqual(["a"]);
    expect(server.socket.sent.at(-1)).toEqual({ event: "$subscribe", id: 2, data: { ch: "a" } });
  });

  it("is asked for once, and is the same promise then", async () => {
    const { client, server } = await open();
    const first = client.join("a");
    expect(client.join("a")).toBe(first);
    await first;
    expect(client.join("a")).toBe(first);
    expect(sent(server.socket)).toEqual(["$subscribe a"]);
  });

  it("waits for a connection, however many it takes", async () => {
    const { client, server } = scene({}, (server) => (server.answers["$subscribe"] = () => SILENCE));
    const joined = outcome(client.join("a"));
    client.connect();
    await soon();
    server.socket.end(1006);
    delete server.answers["$subscribe"];
    expect(await joined).toBe("pending");
    const again = client.join("a");
    await pass(500);
    expect(await again).toEqual(position);
  });

  it("succeeds where the connection is in the tag already", async () => {
    const { client } = await open({}, (server) => (server.answers["$subscribe"] = () => new Refusal(105)));
    expect(await outcome(client.join("a"))).toBeUndefined();
    expect(client.tags).toEqual(["a"]);
  });

  it.each([
    ["for good", new Refusal(103), { code: 103 }],
    ["for now", new Refusal(111, { temporary: true, retryAfterMs: 5 }), { code: 111, temporary: true, retryAfter: 5 }],
  ])("that is refused %s is the caller's to try again", async (_name, refusal, error) => {
    const { client, errors } = await open({}, (server) => (server.answers["$subscribe"] = () => refusal));
    expect(await outcome(client.join("a"))).toMatchObject(error);
    expect(client.tags).toEqual([]);
    expect(errors).toEqual([]);
    await pass(20_000);
    expect(client.tags).toEqual([]);
  });

  it("outlasts a client that is closed, and waits for connect()", async () => {
    const { client } = scene();
    const joined = client.join("a");
    client.disconnect();
    expect([await outcome(joined), client.tags]).toEqual(["pending", ["a"]]);
    client.connect();
    expect(await outcome(joined)).toEqual(position);
  });

  it("on a closed client waits for connect()", async () => {
    const { client } = await open();
    client.disconnect();
    const joined = outcome(client.join("a"));
    expect(await joined).toBe("pending");
    client.connect();
    expect(await outcome(client.join("a"))).toEqual(position);
  });

  it("holds a thousand tags at most", async () => {
    const { client } = scene();
    for (let n = 0; n < 1000; n++) void client.join(`${n}`);
    expect(await outcome(client.join("more"))).toMatchObject({ code: "full" });
  });
});

describe("after a reconnect", () => {
  it("tags are joined again, before the queue and before what handlers send", async () => {
    const { client, server } = await open();
    await client.join("a");
    await client.join("b");
    await client.leave("a");
    server.socket.end(1006);
    client.send("queued");
    void client.join("c");
    client.on("$state", ({ state }) => state === "open" && client.send("handler"));
    await pass(500);
    expect(sent(server.socket)).toEqual(["$subscribe b", "$subscribe c", "queued", "handler"]);
    expect(client.tags).toEqual(["b", "c"]);
  });

  it("a tag that is refused now is told, and not held any more", async () => {
    const { client, server, errors } = await open();
    await client.join("a");
    server.answers["$subscribe"] = () => new Refusal(103);
    server.socket.end(1006);
    await pass(500);
    expect(errors).toMatchObject([{ event: "$subscribe", tag: "a", error: { code: 103 } }]);
    expect(client.tags).toEqual([]);
  });

  it.each([
    ["a while later", new Refusal(100, { temporary: true }), 5000],
    ["when the server says", new Refusal(111, { temporary: true, retryAfterMs: 9000 }), 9000],
    ["after silence", SILENCE, 20_000],
  ])("a tag that is refused for now is tried again %s", async (_name, answer, wait) => {
    const { client, server, errors } = await open();
    await client.join("a");
    server.answers["$subscribe"] = () => answer;
    server.socket.end(1006);
    await pass(500);
    delete server.answers["$subscribe"];
    await pass(wait - 1);
    expect(sent(server.socket)).toEqual(["$subscribe a"]);
    await pass(1);
    expect(sent(server.socket)).toEqual(["$subscribe a", "$subscribe a"]);
    expect([client.tags, errors]).toEqual([["a"], []]);
  });

  it("a tag that is tried again leaves the others alone", async () => {
    const { client, server } = await open();
    await client.join("a");
    await client.join("b");
    server.answers["$subscribe"] = ({ ch }) => (ch === "a" ? new Refusal(100, { temporary: true }) : position);
    server.socket.end(1006);
    await pass(5500);
    expect(sent(server.socket)).toEqual(["$subscribe a", "$subscribe b", "$subscribe a"]);
  });

  it("what the client held when it was closed is held when it connects again", async () => {
    const { client, server } = await open();
    await client.join("a");
    client.disconnect();
    client.connect();
    await soon();
    expect(sent(server.socket)).toEqual(["$subscribe a"]);
  });
});

describe("leave", () => {
  it("tells the server, and resolves then", async () => {
    const { client, server } = await open();
    await client.join("a");
    expect(await outcome(client.leave("a"))).toBeUndefined();
    expect(server.socket.sent.at(-1)).toMatchObject({ event: "$unsubscribe", data: { ch: "a" } });
    expect(client.tags).toEqual([]);
  });

  it("has nothing to tell without a connection", async () => {
    const { client, server } = scene();
    const joined = client.join("a");
    expect(await outcome(client.leave("a"))).toBeUndefined();
    expect(await outcome(joined)).toBeUndefined();
    client.connect();
    await soon();
    expect(sent(server.socket)).toEqual([]);
  });

  it("is done when the connection ends", async () => {
    const { client, server } = await open({}, (server) => (server.answers["$unsubscribe"] = () => SILENCE));
    const left = client.leave("a");
    server.socket.end(1006);
    expect(await outcome(left)).toBeUndefined();
  });

  it("fails where the server refuses", async () => {
    const { client } = await open({}, (server) => (server.answers["$unsubscribe"] = () => new Refusal(100)));
    expect(await outcome(client.leave("a"))).toMatchObject({ code: 100 });
  });

  it("does not wait in the queue, where it would undo a later join", async () => {
    const limits = { rate: 2, burst: 2 };
    const { client, server } = scene({}, (server) => (server.login = () => ({ limits })));
    for (let n = 0; n < 9; n++) client.send("e");
    client.connect();
    await soon();
    await client.join("a");
    void client.leave("a");
    void client.join("a");
    server.socket.end(1006);
    await pass(500);
    expect(sent(server.socket).filter((name: string) => name !== "e")).toEqual(["$subscribe a"]);
  });

  it("between two joins leaves the answers where they belong", async () => {
    const { client, server } = await open({}, (server) => (server.answers["$subscribe"] = () => SILENCE));
    const first = client.join("a");
    void client.leave("a");
    const second = client.join("a");
    expect(await outcome(first)).toBeUndefined();
    server.socket.write({ event: "$subscribe", id: 2, code: 103 });
    expect(client.tags).toEqual(["a"]);
    server.socket.write({ event: "$subscribe", id: 4, code: 0, data: position });
    expect(await outcome(second)).toEqual(position);
  });
});

describe("in a tag", () => {
  it("presence tells who is there", async () => {
    const there = { presence: { x: { client: "x" } }, count: 1 };
    const { client, server } = await open({}, (server) => (server.answers["$presence"] = () => there));
    expect(await outcome(client.presence("a"))).toEqual(there);
    expect(server.socket.sent.at(-1)).toEqual({ event: "$presence", id: 2, data: { ch: "a" } });
  });

  it("publish sends an event to all", async () => {
    const { client, server } = await open({}, (server) => (server.answers["$publish"] = () => ({ receivers: 3 })));
    expect(await outcome(client.publish("a", "e", { n: 1 }, { key: "k" }))).toEqual({ receivers: 3 });
    expect(server.socket.sent.at(-1).data).toEqual({ ch: "a", event: "e", data: { n: 1 }, key: "k" });
    void client.publish("a", "e", null);
    expect(server.socket.sent.at(-1).data).toEqual({ ch: "a", event: "e", data: null });
    expect(await outcome(client.publish("a", "e", 1, { signal: AbortSignal.abort("why") }))).toBe("why");
  });

  it("presence and publish wait in the queue", async () => {
    const { client, server } = scene();
    client.presence("a").catch(() => {});
    client.publish("a", "e", 1).catch(() => {});
    client.connect();
    await soon();
    expect(sent(server.socket)).toEqual(["$presence a", "$publish a"]);
    expect(vi.getTimerCount()).toBe(1);
  });
});
