// The chat: rooms, who is in them, who is online, what is being said. The client carries it; here is what people see.

import "./chat.css";

import { AntiphonError, Client } from "../../src/index";
import { showCode } from "../shared/code";
import { copies } from "../shared/copy";
import { $, socketAddress } from "../shared/dom";
import { linkToAdmin } from "../shared/pages";
import { startTheme } from "../shared/theme";
import { type Events, LOBBY, ROOM, type Requests } from "./events";
import { heard, notice, showEmpty, showLines } from "./lines";
import { type Room, chat, roomOf, words } from "./page";
import { showPeople, showRooms } from "./people";
import { nobodyTypes, showTyping, types, typesNoMore } from "./typing";
import { forget, isFull, post } from "./unsent";

/** How often others are told that somebody types. */
const TYPING_EVERY = 2500;
/** A message waits so long for the connection and for its reply. */
const PATIENCE = 600_000;
/** For whoever has no name yet. */
const NAMES = ["Ada", "Bela", "Chen", "Dora", "Emil", "Fatma", "Goro", "Hana", "Ines", "Jun", "Kofi", "Lin", "Mona", "Nils", "Olga", "Ravi"];

const main = $("main");
const state = $("state");
const input = $<HTMLInputElement>("message");
const nameField = $<HTMLInputElement>("name");
const roomField = $<HTMLInputElement>("first-room");
const address = socketAddress("/socket");

let client: Client<Events, Requests> | null = null;
let wasOpen = false;
let typedAt = 0;

// ---- rooms ----

/** The room of a tag that this page is in. */
const roomOfTag = (tag: string | undefined): Room | undefined => (tag?.startsWith(ROOM) ? chat.rooms.get(tag.slice(ROOM.length)) : undefined);

async function join(room: Room): Promise<void> {
  try {
    await client?.join(ROOM + room.name);
  } catch (error) {
    // What was lost is done once more when the connection is back.
    const again = error instanceof AntiphonError && (error.code === "lost" || error.code === "closed");
    if (!again && chat.rooms.get(room.name) === room) {
      notice(room, "error", "notJoined", { reason: error instanceof Error ? error.message : "" });
    }
    return;
  }
  if (chat.rooms.get(room.name) !== room || room.joined) return;
  room.joined = true;
  notice(room, "info", "youAre", { user: chat.me.user });
  await countMembers(room);
}

async function countMembers(room: Room): Promise<void> {
  try {
    const members = Object.values((await client?.presence(ROOM + room.name))?.presence ?? {});
    room.members = new Map(members.map((member) => [member.client, member.user]));
    showPeople();
    showRooms();
    if (room === chat.active) showEmpty();
  } catch {
    // The next connection asks again.
  }
}

function leave(room: Room): void {
  client?.leave(ROOM + room.name).catch(() => {});
  chat.rooms.delete(room.name);
  forget(room.name);
  const [next] = chat.rooms.keys();
  if (next !== undefined) {
    choose(next);
    return;
  }
  client?.disconnect();
  client = null;
  showWelcome(room.name);
}

function choose(name: string): void {
  const known = chat.rooms.has(name);
  const room = roomOf(name);
  chat.active = room;
  room.unread = 0;
  if (!known) void join(room);
  $("room-title").textContent = `# ${name}`;
  for (const id of ["second", "empty-second"]) $<HTMLAnchorElement>(id).href = `/chat?${new URLSearchParams({ room: name })}`;
  history.replaceState(null, "", `/chat?${new URLSearchParams({ name: chat.me.user, room: name })}`);
  showLines();
  showSnippet();
  showRooms();
  showPeople();
  showTyping();
}

// ---- what the server says ----

function connect(user: string): void {
  const url = new URL(address);
  url.searchParams.set("name", user);
  client = new Client<Events, Requests>(url.href, { name: "chat", timeout: PATIENCE });
  const current = client;
  current.on("$state", (change) => {
    if (client === current) onState(change);
  });
  current.on("chat/rooms", ({ rooms }) => {
    chat.listed = rooms;
    showRooms();
  });
  current.on("chat/online", (online) => {
    chat.online = online;
    showPeople();
  });
  current.on("chat/message", (spoken, { ch }) => {
    const room = roomOfTag(ch);
    if (room) heard(room, spoken);
  });
  current.on("chat/typing", ({ from, client }, { ch }) => {
    const room = roomOfTag(ch);
    if (room) types(room, from, client);
  });
  current.on("$join", (data) => comeAndGo(true, data));
  current.on("$leave", (data) => comeAndGo(false, data));
  current.on("$gap", ({ ch, dropped }) => {
    const room = roomOfTag(ch);
    if (!room) return;
    notice(room, "error", "gap", { count: dropped });
    void countMembers(room);
  });
  current.on("$error", ({ tag, error }) => {
    const room = roomOfTag(tag);
    if (room) notice(room, "error", "notJoined", { reason: error instanceof Error ? error.message : "" });
  });
  current.connect();
  current.join(LOBBY).catch(() => {});
}

type Change = { state: string; code: number; reason: string; delay?: number; session: { client: string; user?: string } | null };

function onState({ state: name, code, reason, delay, session }: Change): void {
  chat.open = name === "open";
  state.dataset.state = name;
  if (name === "waiting" && delay !== undefined) words.put(state, "waiting", { seconds: Math.max(1, Math.round(delay / 1000)) });
  else words.put(state, name === "waiting" ? "later" : (name as "open" | "connecting" | "closed" | "idle"));
  $("reconnect").hidden = name !== "waiting" && name !== "closed";
  const values = { code, reason: reason ? `: ${reason}` : "" };
  if (name === "open") {
    chat.me = { user: session?.user ?? words.say("guest"), client: session?.client ?? "" };
    client?.request("chat/rooms").then(({ rooms }) => ((chat.listed = rooms), showRooms()), () => {});
    client?.request("chat/online").then((online) => ((chat.online = online), showPeople()), () => {});
    for (const room of chat.rooms.values()) {
      if (!room.joined) {
        void join(room);
        continue;
      }
      notice(room, "info", "back");
      void countMembers(room);
    }
  } else if (wasOpen) {
    for (const room of chat.rooms.values()) {
      room.members.clear();
      nobodyTypes(room);
      if (name === "waiting") notice(room, "error", "lost", values);
    }
    chat.online = { users: [], count: 0 };
    showPeople();
  }
  if (name === "closed" && code !== 1000) for (const room of chat.rooms.values()) notice(room, "error", "kicked", values);
  wasOpen = chat.open;
}

interface Crowd {
  ch: string;
  members: { client: string; user?: string }[];
  count: number;
  more?: boolean;
}

function comeAndGo(joins: boolean, { ch, members, count, more }: Crowd): void {
  const room = roomOfTag(ch);
  if (!room) return;
  for (const { client, user } of members) {
    const known = room.members.has(client);
    if (joins) room.members.set(client, user);
    else room.members.delete(client);
    typesNoMore(room, client);
    if (known === joins || client === chat.me.client) continue;
    // Who is here with another tab has neither come nor gone.
    const elsewhere = [...room.members].some(([other, name]) => other !== client && name === user);
    if (!elsewhere && user !== undefined) notice(room, "info", joins ? "joined" : "left", { user });
  }
  if (more || room.members.size !== count) void countMembers(room);
  if (room !== chat.active) return;
  showPeople();
  showEmpty();
}

// ---- the page ----

/** A name to begin with; who types has another one. */
function suggestName(): void {
  nameField.value = NAMES[Math.floor(Math.random() * NAMES.length)] ?? "";
  nameField.focus();
  nameField.select();
}

function showWelcome(room: string): void {
  chat.active = null;
  main.classList.add("guest");
  history.replaceState(null, "", "/chat");
  roomField.value = room;
  suggestName();
  showSnippet();
}

function enter(user: string, room: string): void {
  chat.me = { user, client: "" };
  main.classList.remove("guest");
  wasOpen = false;
  chat.rooms.clear();
  connect(user);
  choose(room);
  input.focus();
}

/** What puts this room into another page: complete, and right for this very server. */
function showSnippet(): void {
  const room = chat.active?.name ?? (roomField.value.trim() || "tea");
  // Text that could end the script is written as JavaScript has it.
  const tag = JSON.stringify(ROOM + room).replaceAll("<", "\\u003c");
  showCode($("snippet"), [
    '<script type="module">',
    `  import { Client } from "${new URL("/antiphon.js", location.href).href}";`,
    `  const chat = new Client("${address.href}"); chat.connect();`,
    `  chat.join(${tag}); chat.on("chat/message", ({ from, text }) => document.body.append(\`\${from}: \${text} \`));`,
    "</script>",
  ]);
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const [user, room] = [nameField.value.trim(), roomField.value.trim()];
  if (user && room) enter(user, room);
});
roomField.addEventListener("input", showSnippet);
$("open-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = $<HTMLInputElement>("new-room");
  const room = field.value.trim();
  field.value = "";
  if (room) choose(room);
  input.focus();
});
$("rooms").addEventListener("click", ({ target }) => {
  const name = (target as Element).closest<HTMLElement>("[data-room]")?.dataset.room;
  if (name !== undefined) choose(name);
});
$("leave").addEventListener("click", () => chat.active && leave(chat.active));
$("reconnect").addEventListener("click", () => client?.connect());
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  const current = client;
  if (text === "" || !chat.active || !current || isFull()) return;
  post((room, text) => current.request("chat/send", { room, text }), chat.active.name, text);
  input.value = "";
  typedAt = 0;
  input.focus();
});
input.addEventListener("input", () => {
  if (!chat.active || input.value.trim() === "" || Date.now() - typedAt < TYPING_EVERY) return;
  typedAt = Date.now();
  client?.send("chat/typing", { room: chat.active.name }, { volatile: true });
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !chat.active) return;
  chat.active.unread = 0;
  showRooms();
});

copies($("copy"), $("snippet"), (copied) => words.put($("copy"), copied ? "copied" : "copy"));
linkToAdmin(words);
const theme = startTheme((toDark) => words.say(toDark ? "toDark" : "toLight"));
words.start();
words.onChange(() => {
  theme();
  showRooms();
  showPeople();
  showTyping();
  if (chat.active) showEmpty();
});
const asked = new URLSearchParams(location.search);
const [user, room] = [asked.get("name")?.trim(), asked.get("room")?.trim()];
if (room) roomField.value = room;
if (user && room) {
  enter(user, room);
} else {
  suggestName();
  showSnippet();
}
