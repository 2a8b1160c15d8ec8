// hotgo's envelope.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { open, outcome, pass, realTime, Refusal, SILENCE, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

const v1 = (setUp?: Parameters<typeof open>[1]) => open({ protocol: "v1", token: "T" }, setUp);

describe("on v1", () => {
  it("a client is open when its socket is, without a session", async () => {
    const { client, server, states } = await v1();
    expect(states.at(-1)).toEqual({ state: "open", code: 0, reason: "", session: null });
    expect(client.session).toBeNull();
    expect(server.socket.sent).toEqual([]);
  });

  it("the envelope has no ids", async () => {
    const { client, server } = await v1();
    client.send("a", { n: 1 });
    client.request("b").catch(() => {});
    expect(server.socket.sent).toEqual([{ event: "a", data: { n: 1 } }, { event: "b" }]);
  });

  it("the next message of a request's name is its reply; others of the name are events", async () => {
    const { client, server } = await v1((server) => (server.answers["b"] = () => SILENCE));
    const seen = vi.fn();
    client.on("b", seen);
    const replies = [client.request("b"), client.request("b")];
    for (const data of [1, 2, 3]) server.socket.push("b", data);
    expect(await Promise.all(replies)).toEqual([1, 2]);
    expect(seen.mock.calls.map(([data]) => data)).toEqual([3]);
  });

  it("a request that waits in the queue has no reply yet", async () => {
    const { client, server } = await v1();
    server.socket.readyState = 2;
    const reply = outcome(client.request("b"));
    server.socket.readyState = 1;
    server.socket.push("b", "event");
    expect(await reply).toBe("pending");
    client.disconnect();
  });

  it("errors have no code of their own", async () => {
    const { client, errors } = await v1((server) => (server.answers["b"] = () => new Refusal(104)));
    expect(await outcome(client.request("b"))).toMatchObject({ code: -1, message: "refused", temporary: false });
    client.send("b");
    await soon();
    expect(errors).toMatchObject([{ event: "b", error: { code: -1 } }]);
  });

  it("tags are joined with join and quit, and again after a reconnect", async () => {
    const { client, server } = await v1();
    expect(await outcome(client.join("a"))).toBeUndefined();
    await client.join("b");
    expect(await outcome(client.leave("b"))).toBeUndefined();
    server.socket.end(1006);
    await pass(500);
    expect(server.sockets.map((socket) => socket.sent)).toEqual([
      [
        { event: "join", data: { id: "a" } },
        { event: "join", data: { id: "b" } },
        { event: "quit", data: { id: "b" } },
      ],
      [{ event: "join", data: { id: "a" } }],
    ]);
  });

  it("presence and publish do not exist", async () => {
    const { client } = await v1();
    expect(await outcome(client.presence("a"))).toMatchObject({ code: 108 });
    expect(await outcome(client.publish("a", "e", 1))).toMatchObject({ code: 108 });
  });

  it("a silent server is asked with ping, whose answer is no event", async () => {
    const { client, server } = await v1();
    const seen = vi.fn();
    client.on("*", seen);
    await pass(25_000);
    expect(server.socket.events).toEqual(["ping"]);
    await pass(10_000);
    expect([client.state, seen.mock.calls]).toEqual(["open", []]);
    server.isMute = true;
    await pass(25_000);
    expect(client.state).toBe("waiting");
  });

  it("kick is an event, and the client stays away although no code says so", async () => {
    const { client, server, states } = await v1();
    const seen = vi.fn();
    client.on("kick", seen);
    server.socket.push("kick");
    server.socket.end(1006);
    expect(seen).toHaveBeenCalledTimes(1);
    expect(states.at(-1)).toMatchObject({ state: "closed", code: 3503, reason: "kick" });
  });

  it("a token cannot be brought anew: it is for the next connection", async () => {
    const { client, server } = await v1();
    client.setToken("T2");
    await soon();
    expect(server.socket.sent).toEqual([]);
    server.socket.end(1006);
    await pass(500);
    expect(server.socket.url).toContain("=T2");
  });
});
