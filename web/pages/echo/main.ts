// The page of the echo, and of `serve --command`. It speaks plain WebSocket: an echo needs no protocol above it.

import "./echo.css";

import { showCode } from "../shared/code";
import { copies } from "../shared/copy";
import { $, Tail, make, socketAddress, speech } from "../shared/dom";
import { type Values, Words } from "../shared/i18n";
import { linkToAdmin } from "../shared/pages";
import { startTheme } from "../shared/theme";
import { type Key, TEXTS } from "./texts";

/** More lines than anybody reads; older ones make room. */
const MAX_LINES = 500;
/** What a browser may hold unsent before the page stops taking more. */
const MAX_BUFFERED = 4 * 1024 * 1024;
/** Round trips in the picture. */
const MAX_TRIPS = 28;
/** Messages of the starter that sends many. */
const MANY = 100;

const [lines, empty, state] = [$("lines"), $("empty"), $("state")];
const input = $<HTMLInputElement>("message");
const send = $<HTMLButtonElement>("send");
const tail = new Tail($("log"));
const command = document.documentElement.dataset.mode === "command";
const address = socketAddress("/ws");
const words = new Words<Key>(TEXTS);

let socket: WebSocket | null = null;
/** When each message was sent: an echo answers in order. */
let waiting: number[] = [];
const trips: number[] = [];
const counts = { sent: { messages: 0, bytes: 0 }, received: { messages: 0, bytes: 0 } };

function showCounts(): void {
  for (const [way, { messages, bytes }] of Object.entries(counts)) {
    $(way).textContent = messages === 0 ? "0" : `${words.number(messages)} · ${words.size(bytes)}`;
  }
}

function timeOf(milliseconds: number): string {
  return `${words.number(milliseconds, milliseconds < 10 ? 1 : 0)} ms`;
}

function showTrip(milliseconds: number): void {
  $("roundtrip").textContent = timeOf(milliseconds);
  trips.push(milliseconds);
  if (trips.length > MAX_TRIPS) trips.shift();
  const longest = Math.max(...trips, 1);
  $("trace").replaceChildren(
    ...trips.map((trip) => {
      const bar = make("i");
      bar.style.height = `${Math.round((trip / longest) * 100)}%`;
      return bar;
    }),
  );
}

type Kind = "sent" | "received" | "info" | "error";

function line(kind: Kind, parts: HTMLElement[]): void {
  const item = make("li", kind);
  item.dataset.kind = kind;
  item.append(...parts);
  lines.append(item);
  while (lines.children.length > MAX_LINES) lines.firstChild?.remove();
  empty.hidden = lines.querySelector(".sent, .received") !== null;
  tail.grown(kind === "sent");
}

function notice(kind: Kind, key: Key, values: Values = {}): void {
  const clock = make("span", "meta", new Date().toLocaleTimeString(words.tag));
  line(kind, [words.put(make("span", "text"), key, values), clock]);
}

function spoken(kind: Kind, text: string, details: (string | null)[]): void {
  const who = words.put(make("span", "hidden"), kind === "sent" ? "you" : "server");
  line(kind, [who, speech(text), make("span", "meta", details.filter(Boolean).join(" · "))]);
}

function show(name: "connecting" | "open" | "closed"): void {
  state.dataset.state = name;
  words.put(state, name);
  send.disabled = name !== "open";
  for (const button of $("starters").querySelectorAll("button")) button.disabled = name !== "open";
  $("reconnect").hidden = name !== "closed";
  $("disconnect").hidden = name !== "open";
}

function received(data: string | ArrayBuffer): void {
  const binary = typeof data !== "string";
  const bytes = binary ? new Uint8Array(data) : new TextEncoder().encode(data);
  counts.received.messages += 1;
  counts.received.bytes += bytes.length;
  const begun = command ? undefined : waiting.shift();
  const took = begun === undefined ? null : performance.now() - begun;
  if (took !== null) showTrip(took);
  const text = binary ? Array.from(bytes.subarray(0, 256), (byte) => byte.toString(16).padStart(2, "0")).join(" ") : data;
  spoken("received", text, [words.size(bytes.length), took === null ? null : timeOf(took)]);
  showCounts();
}

function connect(): void {
  if (socket && socket.readyState <= WebSocket.OPEN) return;
  show("connecting");
  waiting = [];
  let opened = false;
  const current = new WebSocket(address);
  current.binaryType = "arraybuffer";
  socket = current;
  current.addEventListener("open", () => {
    opened = true;
    show("open");
    notice("info", "opened", { url: address.href });
  });
  current.addEventListener("message", (event: MessageEvent<string | ArrayBuffer>) => received(event.data));
  current.addEventListener("close", ({ code, reason }) => {
    if (current !== socket) return;
    show("closed");
    const values = { url: address.href, code, reason: reason ? `: ${reason}` : "" };
    if (!opened) notice("error", "refused", values);
    else if (code === 1006) notice("error", "lost", values);
    else if (code === 1001 || code === 1012) notice("error", "endedByServer", values);
    else notice(code === 1000 || code === 1005 ? "info" : "error", "ended", values);
  });
}

function say(text: string): boolean {
  if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_BUFFERED) {
    notice("error", "notOpen");
    return false;
  }
  const bytes = new TextEncoder().encode(text).length;
  if (!command) waiting.push(performance.now());
  socket.send(text);
  counts.sent.messages += 1;
  counts.sent.bytes += bytes;
  spoken("sent", text, [words.size(bytes)]);
  showCounts();
  return true;
}

function starter(key: Key, work: () => void): HTMLButtonElement {
  const button = words.put(make("button", "quiet"), key, { count: MANY });
  button.type = "button";
  button.addEventListener("click", () => {
    work();
    input.focus();
  });
  return button;
}

$("starters").append(
  starter("hello", () => say(words.say("hello"))),
  starter("many", () => {
    for (let turn = 1; turn <= MANY && say(`${turn}`); turn += 1);
  }),
);

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (input.value !== "" && say(input.value)) input.value = "";
  input.focus();
});
$("reconnect").addEventListener("click", () => {
  connect();
  input.focus();
});
$("disconnect").addEventListener("click", () => socket?.close(1000));

if (command) {
  // A program does what it does: the words say so.
  for (const element of document.querySelectorAll<HTMLElement>("[data-text]")) {
    const key = `${element.dataset.text}Command`;
    if (key in TEXTS.en) element.dataset.text = key;
  }
}
$("address").textContent = address.href;
$("roundtrip-fact").hidden = command;
showCode($("snippet"), [
  `const ws = new WebSocket("${address.href}");`,
  "ws.onmessage = (event) => alert(event.data);",
  'ws.onopen = () => ws.send("hello");',
]);
copies($("copy"), $("snippet"), (copied) => words.put($("copy"), copied ? "copied" : "copy"));
linkToAdmin(words);
const theme = startTheme((toDark) => words.say(toDark ? "toDark" : "toLight"));
words.start();
words.onChange(() => {
  showCounts();
  theme();
});
connect();
