// @vitest-environment happy-dom
// What the browser says: network, page, tab.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { open, outcome, pass, realTime, scene, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

const tell = (name: string) => window.dispatchEvent(new Event(name));
const tellDocument = (name: string) => document.dispatchEvent(new Event(name));
const pings = (server: any) => server.socket.events.filter((event: string) => event === "$ping").length;

describe("the network", () => {
  it("that is back makes a client that waits connect at once", async () => {
    const { client, server } = await open({ reconnect: { first: 30_000 } });
    server.socket.end(1006);
    await pass(1000);
    tell("online");
    await soon();
    expect([client.state, server.mostAlive]).toEqual(["open", 1]);
  });

  it("that is back does not undercut the server's delay", async () => {
    const { client, server } = await open();
    server.socket.goodbye(1012, 5000);
    await pass(1000);
    tell("online");
    await pass(3999);
    expect(client.state).toBe("waiting");
    await pass(1);
    expect(client.state).toBe("open");
  });

  it.each(["online", "offline"])("that is %s makes an open client ask for a sign of life", async (name) => {
    const { client, server } = await open();
    tell(name);
    await soon();
    expect([pings(server), client.state]).toEqual([1, "open"]);
    server.isMute = true;
    tell(name);
    await pass(10_000);
    expect(client.state).toBe("waiting");
    client.disconnect();
  });

  it("concerns no client that nobody has told to connect, or that was told not to", async () => {
    const { client, server } = scene();
    tell("online");
    tell("pageshow");
    client.connect();
    tell("offline");
    await soon();
    client.disconnect();
    for (const name of ["online", "pagehide", "pageshow"]) tell(name);
    tellDocument("freeze");
    await pass(1000);
    expect([client.state, server.sockets.length, vi.getTimerCount()]).toEqual(["closed", 1, 0]);
  });
});

describe("the page", () => {
  it.each([
    ["pagehide", "pageshow", tell],
    ["freeze", "resume", tellDocument],
  ])("that goes (%s) closes the socket, and opens one when it is back (%s)", async (hide, show, tell) => {
    const { client, server, states } = await open();
    await client.join("a");
    const lost = outcome(client.request("$ping"));
    tell(hide);
    tell(hide);
    expect(states.at(-1)).toEqual({ state: "waiting", code: 1001, reason: "the page is hidden", session: null });
    expect([server.alive.length, vi.getTimerCount()]).toEqual([0, 0]);
    expect(await lost).toMatchObject({ code: "lost" });
    client.send("later");
    window.dispatchEvent(new Event("online"));
    client.setToken("T");
    await pass(60_000);
    expect(server.sockets).toHaveLength(1);
    tell(show);
    await soon();
    expect(client.state).toBe("open");
    expect(server.socket.events).toEqual(["$connect", "$subscribe", "later"]);
    expect(server.tokens).toEqual([undefined, "T"]);
  });

  it("that is shown for the first time only asks for a sign of life", async () => {
    const { server } = await open();
    tell("pageshow");
    expect([server.sockets.length, pings(server)]).toEqual([1, 1]);
  });

  it("that is hidden may be told to connect, or to disconnect", async () => {
    const { client, server } = await open();
    tell("pagehide");
    client.connect();
    await soon();
    expect([client.state, server.sockets.length]).toEqual(["open", 2]);
    tell("pagehide");
    client.disconnect();
    tell("pageshow");
    await pass(60_000);
    expect([client.state, server.sockets.length]).toEqual(["closed", 2]);
  });

  it("in the foreground asks for a sign of life, one in the background does not", async () => {
    const { client, server } = await open();
    const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(true);
    tellDocument("visibilitychange");
    expect(pings(server)).toBe(0);
    hidden.mockReturnValue(false);
    tellDocument("visibilitychange");
    expect(pings(server)).toBe(1);
    client.disconnect();
  });

  it("hears a client that is thrown away no longer", async () => {
    const add = vi.spyOn(window, "addEventListener");
    const { client } = await open();
    client.disconnect();
    client.connect();
    await soon();
    client.disconnect();
    const signals = add.mock.calls.map(([, , options]) => (options as { signal: AbortSignal }).signal);
    expect(signals.length).toBe(8);
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
  });
});
