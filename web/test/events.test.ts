// What the server sends, and who hears it.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { open, realTime, scene, soon, virtualTime } from "./fake.js";

beforeEach(virtualTime);
afterEach(realTime);

describe("handlers", () => {
  it("get the data and the message, in the order in which they came", async () => {
    const { client, server } = await open();
    const heard: unknown[] = [];
    client.on("chat", (data, message) => heard.push(["first", data, message]));
    client.on("chat", (data) => heard.push(["second", data]));
    client.on("*", (data, message) => heard.push(["*", data, message.event]));
    server.socket.push("chat", { text: "hi" }, { ch: "room", offset: 3 });
    server.socket.push("other", null);
    const message = { event: "chat", ch: "room", offset: 3, data: { text: "hi" }, code: 0, timestamp: 1795177846 };
    expect(heard).toEqual([
      ["first", { text: "hi" }, message],
      ["second", { text: "hi" }],
      ["*", { text: "hi" }, "chat"],
      ["*", null, "other"],
    ]);
  });

  it("are taken off by the function that on() gives back, or by off()", async () => {
    const { client, server } = await open();
    const [a, b, c] = [vi.fn(), vi.fn(), vi.fn()];
    const takeOff = client.on("e", a);
    client.on("e", a);
    client.on("e", b);
    client.on("e", c);
    takeOff();
    takeOff();
    client.off("e", b);
    client.off("e", () => {});
    server.socket.push("e");
    expect([a, b, c].map((handler) => handler.mock.calls.length)).toEqual([1, 0, 1]);
    client.off("e");
    client.off("nothing");
    server.socket.push("e");
    expect(c).toHaveBeenCalledTimes(1);
  });

  it("that run once run once, also where another handler causes the event again", async () => {
    const { client, server } = await open();
    const once = vi.fn();
    let depth = 0;
    client.on("e", () => depth++ || server.socket.push("e"));
    client.once("e", once);
    client.once("f", once)();
    server.socket.push("e");
    server.socket.push("e");
    server.socket.push("f");
    expect(once).toHaveBeenCalledTimes(1);
  });

  it("may be added and taken off while an event is told, from the next one on", async () => {
    const { client, server } = await open();
    const late = vi.fn();
    client.on("e", () => client.on("e", late));
    server.socket.push("e");
    expect(late).not.toHaveBeenCalled();
    server.socket.push("e");
    expect(late).toHaveBeenCalledTimes(1);
  });

  it("that throw disturb nobody", async () => {
    const { client, server, errors } = await open();
    const next = vi.fn();
    const error = new Error("mine");
    client.on("e", () => {
      throw error;
    });
    client.on("e", next);
    client.on("*", next);
    server.socket.push("e");
    expect(errors).toEqual([{ error, event: "e" }]);
    expect(next).toHaveBeenCalledTimes(2);
    expect(client.state).toBe("open");
  });

  it.each(["reportError", "console"])("that throw are told by %s where nobody listens to $error", async (where) => {
    const report = vi.fn();
    vi.stubGlobal("reportError", where === "reportError" ? report : undefined);
    vi.spyOn(console, "error").mockImplementation(report);
    const { client, server } = await open();
    client.off("$error");
    const error = new Error("mine");
    const fail = () => {
      throw error;
    };
    client.on("e", fail);
    server.socket.push("e");
    client.on("$error", fail);
    server.socket.push("e");
    expect(report.mock.calls).toEqual([[error], [error]]);
  });
});

describe("the protocol's own events", () => {
  it.each(["$join", "$leave", "$gap"])("%s reaches the application", async (event) => {
    const { client, server } = await open();
    const seen = vi.fn();
    client.on(event, seen);
    server.socket.push(event, { ch: "room" });
    expect(seen.mock.calls[0]![0]).toEqual({ ch: "room" });
  });

  it("$disconnect reaches it too, before the state that it causes", async () => {
    const { client, server } = await open();
    const heard: string[] = [];
    client.on("$disconnect", ({ reason }) => heard.push(reason));
    client.on("$state", ({ state }) => heard.push(state));
    server.socket.goodbye(1012, 10, "restart");
    expect(heard).toEqual(["restart", "waiting"]);
  });

  it("a heartbeat is answered with the same", async () => {
    const { client, server } = await open();
    const seen = vi.fn();
    client.on("*", seen);
    server.socket.write({});
    expect(server.socket.sent.at(-1)).toEqual({});
    expect(seen).not.toHaveBeenCalled();
  });

  it("an error without an id is that of a send", async () => {
    const { client, server, errors } = await open();
    client.send("nope", 1);
    await soon();
    expect(errors).toMatchObject([{ event: "nope", error: { code: 104, message: "refused", temporary: false } }]);
    server.socket.write({ event: "", code: 107 });
    expect(errors).toHaveLength(2);
  });
});

describe("frames", () => {
  it.each([
    ["several objects, one a line", '{"event":"a"}\n{"event":"b"}\n', "a b", 0],
    ["line breaks of Windows", '{"event":"a"}\r\n{"event":"b"}', "a b", 0],
    ["a line feed behind", '{"event":"a"}\n', "a", 0],
    ["line breaks inside", '{\n"event":"a"\n}', "a", 0],
    ["a bad line between good ones", '{"event":"a"}\nno\n{"event":"b"}', "a b", 1],
    ["no JSON", "no", "", 1],
    ["nothing", "", "", 1],
    ["binary", new ArrayBuffer(8), "", 1],
    ["null", "null", "", 0],
    ["a goodbye that says nothing", '{"event":"$disconnect","data":null}', "$disconnect", 0],
  ])("%s", async (_name, frame, events, failures) => {
    const { client, server, errors } = await open();
    const heard: string[] = [];
    client.on("*", (_data, { event }) => heard.push(event));
    server.socket.raw(frame);
    expect(heard.join(" ")).toBe(events);
    expect(errors).toHaveLength(failures);
    if (failures) expect(errors[0].error).toMatchObject({ code: 107, name: "AntiphonError" });
    expect(client.state).toBe("open");
  });

  it("end where a handler ends the connection", async () => {
    const { client, server, path } = await open();
    const heard: string[] = [];
    client.on("*", (_data, { event }) => heard.push(event));
    client.on("a", () => {
      client.disconnect();
      client.connect();
    });
    server.socket.raw('{"event":"a"}\n{"event":"$connected","data":{}}\n{"event":"b"}');
    expect([heard, client.state]).toEqual([["a"], "connecting"]);
    await soon();
    expect(path()).toBe("connecting open closed connecting open");
  });

  it("of a reply that nobody waits for any more are dropped", async () => {
    const { client, server, errors } = await open();
    const seen = vi.fn();
    client.on("*", seen);
    server.socket.write({ event: "a", id: 99, code: 104 });
    expect([seen.mock.calls, errors]).toEqual([[], []]);
  });
});

it("nothing is heard before a client is open, and nothing is lost behind the login", async () => {
  const { client, server } = scene();
  const heard: string[] = [];
  client.on("*", (_data, { event }) => heard.push(event));
  server.login = () => {
    queueMicrotask(() => server.socket.push("first"));
    return { ping: 25 };
  };
  client.connect();
  await soon();
  expect(heard).toEqual(["first"]);
});
