// From nothing to an open connection, and to its end.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Client } from "../src/index.js";
import { open, pass, realTime, Refusal, scene, session, SILENCE, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

describe("connecting", () => {
  it("does nothing before connect() is called", async () => {
    const { client, server } = scene();
    await pass(60_000);
    expect(client.state).toBe("idle");
    expect(server.sockets).toEqual([]);
  });

  it("goes through connecting to open, and tells the session", async () => {
    const { client, server, states } = await open({ token: "T", name: "web", version: "1.4" });
    expect(states).toEqual([
      { state: "connecting", code: 0, reason: "", session: null },
      { state: "open", code: 0, reason: "", session: session() },
    ]);
    expect(client.session).toEqual(session());
    expect(server.socket.protocols).toEqual(["antiphon.v2.json"]);
    expect(server.socket.url).toBe("wss://example.com/socket");
    expect(server.socket.sent).toEqual([
      { event: "$connect", id: 1, data: { token: "T", name: "web", version: "1.4" } },
    ]);
  });

  it("is open once where the handshake has let it in already", async () => {
    const { client, path } = await open({}, (server) => (server.welcome = session({ node: "b" })));
    expect(client.session!.node).toBe("b");
    expect(path()).toBe("connecting open");
  });

  it("connects once however often it is asked", async () => {
    const { client, server } = scene();
    client.connect();
    client.connect();
    await soon();
    client.connect();
    await soon();
    expect(server.sockets).toHaveLength(1);
  });

  it("gives up an attempt that takes too long, and tries again", async () => {
    const { client, server, states } = scene({ connectTimeout: 3000 }, (server) => (server.isUp = "never"));
    client.connect();
    await pass(2999);
    expect(client.state).toBe("connecting");
    await pass(1);
    expect(states.at(-1)).toMatchObject({ state: "waiting", code: 1006, delay: 500 });
    expect(server.alive).toEqual([]);
    await pass(500);
    expect(server.sockets).toHaveLength(2);
  });

  it("gives up a login that is not answered", async () => {
    const { client, path } = scene({ timeout: 10 }, (server) => (server.login = () => SILENCE));
    client.connect();
    await pass(14_999);
    expect(path()).toBe("connecting");
    await pass(1);
    expect(path()).toBe("connecting waiting");
  });

  it("hears a login that takes longer than requests may", async () => {
    const { client, server } = scene({ timeout: 10 }, (server) => (server.login = () => SILENCE));
    client.connect();
    await pass(5000);
    server.socket.write({ event: "$connect", id: 1, code: 0, data: session() });
    expect(client.state).toBe("open");
  });

  it("closes where the server does not speak v2", async () => {
    const { client, states } = scene({}, (server) => (server.agrees = () => ""));
    client.connect();
    await soon();
    expect(states.at(-1)).toMatchObject({ state: "closed", code: 3508 });
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ["wss://a/b", undefined, "wss://a/b"],
    ["https://a/b?c=d", undefined, "wss://a/b?c=d"],
    ["http://a/b", undefined, "ws://a/b"],
    ["/socket", { href: "https://example.com/page/" }, "wss://example.com/socket"],
    ["socket", { href: "http://localhost:8199/chat/" }, "ws://localhost:8199/chat/socket"],
  ])("takes %s (at %o) for %s", async (url, location, expected) => {
    vi.stubGlobal("location", location);
    const { server } = scene();
    new Client(url, { WebSocket: server.WebSocket }).connect();
    await soon();
    expect(server.socket.url).toBe(expected);
  });

  it("closes and says why where there is no address to connect to", async () => {
    const { server } = scene();
    const client = new Client("/socket", { WebSocket: server.WebSocket });
    const errors: unknown[] = [];
    client.on("$error", ({ error }) => errors.push(error));
    client.connect();
    await soon();
    expect(client.state).toBe("closed");
    expect(String(errors)).toContain("Invalid URL");
  });

  it("closes and says why where there are no sockets", async () => {
    vi.stubGlobal("WebSocket", undefined);
    const { client, errors, states } = scene({ WebSocket: undefined });
    client.connect();
    await soon();
    expect(states.at(-1)).toMatchObject({ state: "closed", code: 0 });
    expect(String(errors[0].error)).toContain("there is no WebSocket here");
  });

  it("takes the WebSocket of the platform", async () => {
    const { client, server } = scene({ WebSocket: undefined });
    vi.stubGlobal("WebSocket", server.WebSocket);
    client.connect();
    await soon();
    expect(client.state).toBe("open");
  });
});

describe("where the token travels", () => {
  const jwt = "eyJh.eyJz.c2ln";

  it.each([
    ["v2", undefined, jwt, "", ["antiphon.v2.json"], jwt],
    ["v2", "query", "a b", "?authorization=a+b", ["antiphon.v2.json"], undefined],
    ["v2", "protocol", jwt, "", ["antiphon.v2.json", `antiphon.token.${jwt}`], undefined],
    ["v2", "protocol", "é?>", "", ["antiphon.v2.json", "antiphon.token.w6k_Pg"], undefined],
    ["v1", undefined, jwt, `?authorization=${jwt}`, [], undefined],
    ["v1", "protocol", jwt, "", ["hotgo.v1", `antiphon.token.${jwt}`], undefined],
  ] as const)("%s, %s: %s", async (protocol, tokenIn, token, query, protocols, inMessage) => {
    const { server } = await open({ protocol, tokenIn, token });
    expect(server.socket.url).toBe(`wss://example.com/socket${query}`);
    expect(server.socket.protocols).toEqual(protocols);
    expect(server.tokens).toEqual(protocol === "v2" ? [inMessage] : []);
  });

  it("tells where a server lets it in as anonymous and does not look at its token", async () => {
    const anonymous = session({ user: undefined });
    const { errors } = await open({ token: "T" }, (server) => (server.welcome = anonymous));
    expect(errors).toMatchObject([{ event: "$connected", error: { code: 101 } }]);
    for (const options of [{}, { token: "T", tokenIn: "query" }] as const) {
      expect((await open(options, (server) => (server.welcome = anonymous))).errors).toEqual([]);
    }
    expect((await open({ token: "T" }, (server) => (server.welcome = session()))).errors).toEqual([]);
  });
});

describe("a refused login", () => {
  it.each([
    ["a token that is no good", new Refusal(101), 3500, "closed"],
    ["a token that is over", new Refusal(109), 3004, "closed"],
    ["a client that may not connect", new Refusal(103), 3507, "closed"],
    ["a server in trouble", new Refusal(100, { temporary: true }), 3003, "waiting"],
  ])("%s", async (_name, refusal, code, state) => {
    const { client, server, states } = scene({ token: "T" }, (server) => (server.login = () => refusal));
    client.connect();
    await soon();
    expect(client.state).toBe("connecting");
    server.socket.goodbye(code, 0, "because");
    expect(states.at(-1)).toMatchObject({ state, code, reason: "because" });
  });

  it.each([
    [new Refusal(101), "closed"],
    [new Refusal(111, { temporary: true }), "waiting"],
  ])("is believed without a goodbye: %o", async (refusal, state) => {
    const { client, server } = scene({ token: "T" }, (server) => (server.login = () => refusal));
    client.connect();
    await soon();
    server.socket.end(1006);
    expect(client.state).toBe(state);
  });

  it("waits as long as the server says, even if its goodbye does not say it again", async () => {
    const refusal = new Refusal(111, { temporary: true, retryAfterMs: 7000 });
    const { client, server, states } = scene({}, (server) => (server.login = () => refusal));
    client.connect();
    await soon();
    server.socket.goodbye(3013);
    expect(states.at(-1)).toMatchObject({ state: "waiting", code: 3013, delay: 7000 });
  });
});

describe("disconnecting", () => {
  it.each(["idle", "connecting", "open", "waiting"])("ends a client that is %s, and leaves no timer", async (state) => {
    const { client, server, states } = scene();
    if (state !== "idle") client.connect();
    if (state === "open" || state === "waiting") await soon();
    if (state === "waiting") server.socket.end(1006);
    expect(client.state).toBe(state);
    client.disconnect();
    client.disconnect();
    expect(states.at(-1)).toEqual({ state: "closed", code: 1000, reason: "", session: null });
    expect(states.filter(({ state }) => state === "closed")).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
    await pass(60_000);
    expect(client.state).toBe("closed");
    expect(server.alive).toEqual([]);
  });

  it.each(["connecting", "open"])("may come from a handler that hears of %s", async (when) => {
    const { client, server, path } = scene();
    client.on("$state", ({ state }) => state === when && client.disconnect());
    client.send("a");
    client.connect();
    await pass(60_000);
    expect(path().endsWith("closed")).toBe(true);
    expect(server.sockets.flatMap((socket) => socket.events)).not.toContain("a");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is not the end: connect() begins anew", async () => {
    const { client, server } = await open();
    client.disconnect();
    client.connect();
    await soon();
    expect(client.state).toBe("open");
    expect(server.mostAlive).toBe(1);
  });

  it("hears nothing of an old socket but its errors, for which the package `ws` wants a listener", async () => {
    const { client, server } = await open();
    client.disconnect();
    const { onopen, onmessage, onclose, onerror } = server.socket;
    expect([onopen, onmessage, onclose, onerror!()]).toEqual([null, null, null, undefined]);
  });
});
