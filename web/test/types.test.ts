// What the compiler knows. `npm run check` is the test; running it only shows that it runs.

import { expect, expectTypeOf, it } from "vitest";

import {
  AntiphonError,
  Client,
  type Delivery,
  ErrorCode,
  type Gap,
  type Message,
  type Position,
  type State,
  type StateChange,
} from "../src/index.js";

interface Events {
  "chat/message": { text: string };
  "chat/typing": null;
}

interface Requests {
  "chat/send": (data: { text: string }) => { seq: number };
  "chat/rooms": () => Promise<string[]>;
  "chat/find": (data?: { name: string }) => void;
}

const typed = () => new Client<Events, Requests>("wss://example.com");
const untyped = () => new Client("wss://example.com");
const never = () => false;

it("events and requests have their types", () => {
  const client = typed();
  client.on("chat/message", (data, message) => {
    expectTypeOf(data).toEqualTypeOf<{ text: string }>();
    expectTypeOf(message).toEqualTypeOf<Message<{ text: string }>>();
  });
  client.once("$state", (change) => expectTypeOf(change).toEqualTypeOf<StateChange>());
  client.on("$gap", (gap) => expectTypeOf(gap).toEqualTypeOf<Gap>());
  client.on("*", (_data, { event }) => expectTypeOf(event).toEqualTypeOf<string>());
  // @ts-expect-error: there is no such event.
  client.on("chat/mesage", () => {});
  expectTypeOf(client.state).toEqualTypeOf<State>();
  if (never()) {
    expectTypeOf(client.request("chat/send", { text: "" })).resolves.toEqualTypeOf<{ seq: number }>();
    expectTypeOf(client.request("chat/rooms")).resolves.toEqualTypeOf<string[]>();
    expectTypeOf(client.request("chat/find", undefined, { timeout: 1 })).resolves.toEqualTypeOf<void>();
    expectTypeOf(client.send("chat/find", { name: "" }, { volatile: true })).toEqualTypeOf<boolean>();
    expectTypeOf(client.join("a")).resolves.toEqualTypeOf<Position | undefined>();
    expectTypeOf(client.publish("a", "chat/message", { text: "" }, { key: "k" })).resolves.toEqualTypeOf<Delivery>();
    // @ts-expect-error: the data is missing.
    client.request("chat/send");
    // @ts-expect-error: the data is another.
    client.send("chat/send", { txt: "" });
    // @ts-expect-error: there is no such request.
    client.request("chat/sned", { text: "" });
    // @ts-expect-error: the event has other data.
    client.publish("a", "chat/message", 1);
  }
});

it("an application that says nothing of its types may do anything", () => {
  const client = untyped();
  client.on("anything", (data) => expectTypeOf(data).toBeAny());
  client.on("$state", (change) => expectTypeOf(change).toEqualTypeOf<StateChange>());
  if (never()) {
    expectTypeOf(client.request("anything", 1, { signal: AbortSignal.abort() })).resolves.toBeAny();
    client.send("anything");
  }
});

it("codes are told apart", () => {
  const { code } = new AntiphonError(ErrorCode.TIMEOUT, "");
  if (code === "lost") expectTypeOf(code).toEqualTypeOf<"lost">();
  expect(code).toBe(113);
});
