// The chat page: rooms, who is in them, who is online, what is being said. hub.js carries it; here is only what people see.
// Text of others is only ever set as textContent. Messages live in this page alone.

import { Connection } from "/hub.js";

const TEXTS = {
  en: {
    subtitle: "A chat on the hub",
    echo: "Echo",
    welcome: "Who are you?",
    invitation: "Choose a name and a room, then open a second tab with another name.",
    name: "Your name",
    room: "Room",
    enter: "Enter",
    nothingKept: "Nothing is stored: messages live in the open pages alone.",
    rooms: "Rooms",
    newRoom: "New room",
    join: "Join",
    leave: "Leave",
    open: "Connected",
    connecting: "Connecting",
    waiting: "Reconnecting in {seconds} s",
    closed: "Closed",
    now: "Connect now",
    empty: "Nobody has said anything yet.",
    message: "Message",
    placeholder: "Type a message",
    send: "Send",
    again: "Send again",
    here: "Here",
    online: "Online",
    second: "Open another tab",
    yours: "In your own page",
    copy: "Copy",
    copied: "Copied",
    you: "You",
    guest: "Guest",
    youAre: "You joined as {user}",
    joined: "{user} joined",
    left: "{user} left",
    back: "Connected again. What was said in between is not here.",
    lost: "Connection lost ({code}{reason}). It comes back by itself.",
    kicked: "The server closed the connection and asks not to come back ({code}{reason}).",
    gap: "{count} messages did not arrive: this page was too slow",
    notJoined: "The room cannot be joined: {reason}",
    typesOne: "{one} is typing",
    typesTwo: "{one} and {two} are typing",
    typesMany: "Several people are typing",
    sending: "Sending",
    offline: "Waits for the connection",
    unconfirmed: "Perhaps not delivered",
    refused: "Refused: {reason}",
    unread: "{count} unread",
    members: "{count} here",
  },
  zh: {
    subtitle: "基于 hub 的聊天室",
    echo: "回声",
    welcome: "你是谁？",
    invitation: "取个名字，选个房间，再用另一个名字打开第二个标签页。",
    name: "你的名字",
    room: "房间",
    enter: "进入",
    nothingKept: "不保存任何内容：消息只存在于打开的页面中。",
    rooms: "房间",
    newRoom: "新房间",
    join: "加入",
    leave: "离开",
    open: "已连接",
    connecting: "连接中",
    waiting: "{seconds} 秒后重连",
    closed: "已断开",
    now: "立即连接",
    empty: "还没有人说话。",
    message: "消息",
    placeholder: "输入消息",
    send: "发送",
    again: "重新发送",
    here: "在场",
    online: "在线",
    second: "再打开一个标签页",
    yours: "用在你的页面里",
    copy: "复制",
    copied: "已复制",
    you: "你",
    guest: "访客",
    youAre: "你以 {user} 的名字加入了",
    joined: "{user} 加入了",
    left: "{user} 离开了",
    back: "已重新连接。断线期间的消息不在这里。",
    lost: "连接中断（{code}{reason}），会自动恢复。",
    kicked: "服务器关闭了连接，并要求不再连接（{code}{reason}）。",
    gap: "有 {count} 条消息没有送达：此页面太慢",
    notJoined: "无法加入房间：{reason}",
    typesOne: "{one} 正在输入",
    typesTwo: "{one} 和 {two} 正在输入",
    typesMany: "有几个人正在输入",
    sending: "发送中",
    offline: "等待连接",
    unconfirmed: "可能没有送达",
    refused: "被拒绝：{reason}",
    unread: "{count} 条未读",
    members: "{count} 人在场",
  },
};

// More lines of a room than anybody reads; older ones make room.
const MAX_LINES = 500;
// Most messages that wait to be sent; then the field keeps what is typed.
const MAX_UNSENT = 50;
// How often others are told that somebody types, and how long they believe it.
const TYPING_EVERY = 2500;
const TYPING_FOR = 5000;
// Messages of one person within this time stand together.
const TOGETHER = 120_000;

const $ = (id) => document.getElementById(id);
const [log, empty, state, input] = ["log", "empty", "state", "message"].map($);
const scroll = log.parentElement;
const socketAddress = new URL("/socket", location.href);
socketAddress.protocol = location.protocol === "https:" ? "wss:" : "ws:";

let language = "en";
let me = { user: "", client: "" };
let line = null;
let isOpen = false;
let wasOpen = false;
let active = null;
// What the lobby says, and what this page has joined.
let listed = [];
let online = { users: [], count: 0 };
const rooms = new Map();
const unsent = new Set();
let typedAt = 0;
let follows = true;

// ---- words ----

function say(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// Fixed words are kept as keys, so that a change of language reaches what stands already.
function word(element, key, values = {}) {
  element.dataset.text = key;
  element.dataset.values = JSON.stringify(values);
  element.textContent = say(key, values);
  return element;
}

function make(tag, name, text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return element;
}

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const hidden = [...rooms.values()].flatMap((room) => room.lines);
  for (const root of [document, ...hidden]) {
    for (const element of root.querySelectorAll("[data-text]")) {
      element.textContent = say(element.dataset.text, JSON.parse(element.dataset.values ?? "{}"));
    }
  }
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
  const other = language === "en" ? { name: "中文", lang: "zh" } : { name: "English", lang: "en" };
  Object.assign($("language"), { textContent: other.name, lang: other.lang });
  $("language").setAttribute("aria-label", other.name);
  showRooms();
  showPeople();
  showTyping();
}

function face(user) {
  let hash = 7;
  for (const character of user) hash = (hash * 31 + character.codePointAt(0)) % 9973;
  const element = make("span", "face", [...user][0] ?? "?");
  element.dataset.hue = hash % 8;
  element.setAttribute("aria-hidden", "true");
  return element;
}

// ---- rooms ----

function roomOf(name) {
  if (!rooms.has(name)) rooms.set(name, { name, lines: [], latest: null, members: new Map(), typing: new Map(), unread: 0 });
  return rooms.get(name);
}

async function join(name) {
  const again = rooms.has(name);
  const room = roomOf(name);
  if (!isOpen) return;
  try {
    await line.request("$subscribe", { ch: `room:${name}` });
  } catch (error) {
    // What was lost is done once more when the connection is back; who is in already is told 105.
    if (error.code === "lost" || error.code === "offline") return;
    if (error.code !== 105) {
      notice(room, "error", "notJoined", { reason: error.message });
      return;
    }
  }
  notice(room, "info", again && room.lines.length > 0 ? "back" : "youAre", { user: me.user });
  await countMembers(room);
}

async function countMembers(room) {
  try {
    const { presence } = await line.request("$presence", { ch: `room:${room.name}` });
    room.members = new Map(Object.values(presence).map((member) => [member.client, member.user]));
    showPeople();
  } catch {
    // The next connection asks again.
  }
}

function leave(room) {
  line.tell("$unsubscribe", { ch: `room:${room.name}` });
  rooms.delete(room.name);
  for (const message of unsent) if (message.room === room.name) settle(message);
  const [next] = rooms.keys();
  if (next === undefined) {
    line.close();
    showWelcome(room.name);
  } else {
    choose(next);
  }
}

function choose(name) {
  if (!rooms.has(name)) join(name);
  active = roomOf(name);
  active.unread = 0;
  // What stands there already is not read out once more.
  log.setAttribute("aria-busy", "true");
  log.replaceChildren(...active.lines);
  requestAnimationFrame(() => log.removeAttribute("aria-busy"));
  $("room-title").textContent = `# ${name}`;
  $("second").href = `/chat?room=${encodeURIComponent(name)}`;
  const address = new URLSearchParams({ name: me.user, room: name });
  history.replaceState(null, "", `/chat?${address}`);
  showEmpty();
  toEnd();
  showSnippet();
  showRooms();
  showPeople();
  showTyping();
}

function showRooms() {
  const counts = new Map(listed.map((room) => [room.name, room.count]));
  for (const name of rooms.keys()) counts.set(name, counts.get(name) ?? rooms.get(name).members.size);
  const focused = document.activeElement?.dataset?.room;
  $("rooms").replaceChildren(...[...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => {
    const button = make("button");
    button.type = "button";
    button.dataset.room = name;
    const room = rooms.get(name);
    if (room) button.dataset.joined = "";
    if (room && room === active) button.setAttribute("aria-current", "true");
    button.append(make("span", "label", name));
    if (room?.unread) {
      const unread = make("span", "unread", room.unread > 99 ? "99+" : room.unread);
      unread.setAttribute("role", "img");
      unread.setAttribute("aria-label", say("unread", { count: room.unread }));
      button.append(unread);
    }
    const here = make("span", "count", count);
    here.setAttribute("role", "img");
    here.setAttribute("aria-label", say("members", { count }));
    button.append(here);
    button.addEventListener("click", () => choose(name));
    const item = make("li");
    item.append(button);
    return item;
  }));
  if (focused) $("rooms").querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}${active ? `#${active.name} · ` : ""}antiphon chat`;
}

function person(user, connections) {
  const item = make("li");
  item.dataset.user = user;
  item.append(face(user), make("span", "label", user === me.user ? `${user} (${say("you")})` : user));
  if (connections > 1) item.append(make("span", "count", `×${connections}`));
  return item;
}

function showPeople() {
  const here = new Map();
  for (const user of active?.members.values() ?? []) {
    const name = user ?? say("guest");
    here.set(name, (here.get(name) ?? 0) + 1);
  }
  const byName = ([a], [b]) => a.localeCompare(b);
  $("here").replaceChildren(...[...here].sort(byName).map(([user, connections]) => person(user, connections)));
  $("here-count").textContent = here.size;
  $("online").replaceChildren(...online.users.map(({ name }) => {
    const item = make("li");
    item.dataset.user = name;
    item.append(make("span", "label", name));
    return item;
  }));
  $("online-count").textContent = online.count;
}

// ---- lines ----

// kind: sent, received, info or error
function put(room, kind, parts, latest) {
  const item = make("li", kind);
  item.dataset.kind = kind;
  item.append(...parts);
  room.lines.push(item);
  room.latest = latest;
  if (room === active) log.append(item);
  while (room.lines.length > MAX_LINES) room.lines.shift().remove();
  if (room === active) {
    showEmpty();
    if (follows || kind === "sent") toEnd();
  }
  return item;
}

function toEnd() {
  follows = true;
  scroll.scrollTop = scroll.scrollHeight;
}

// Whoever reads the end stays there, also when the room for it changes.
scroll.addEventListener("scroll", () => (follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80));
new ResizeObserver(() => follows && toEnd()).observe(scroll);

function showEmpty() {
  empty.hidden = active.lines.some((item) => ["sent", "received"].includes(item.dataset.kind));
}

function notice(room, kind, key, values = {}) {
  return put(room, kind, [word(make("span", "text"), key, values)], null);
}

function heard(room, { from, client, text, at }) {
  const own = client === me.client;
  const clock = new Date(at).toLocaleTimeString(document.documentElement.lang, { hour: "numeric", minute: "2-digit" });
  const latest = { client, at };
  const first = room.latest?.client !== client || at - room.latest.at > TOGETHER;
  const who = own ? word(make("b", ""), "you") : make("b", "", from);
  const header = make("span", first ? "who" : "hidden");
  header.append(who, ` ${clock}`);
  const parts = [header, make("span", "text", text)];
  if (!own && first) parts.unshift(face(from));
  const item = put(room, own ? "sent" : "received", parts, latest);
  if (first) item.classList.add("first");
  stopTyping(room, client);
  if (own) {
    const [confirmed] = [...unsent].filter((message) => message.room === room.name && message.text === text);
    if (confirmed) settle(confirmed);
  } else if (room !== active || document.hidden) {
    room.unread += 1;
    showRooms();
  }
}

// ---- typing ----

function typing(room, { from, client }) {
  clearTimeout(room.typing.get(client)?.timer);
  room.typing.set(client, { from, timer: setTimeout(() => stopTyping(room, client), TYPING_FOR) });
  showTyping();
}

function stopTyping(room, client) {
  clearTimeout(room.typing.get(client)?.timer);
  room.typing.delete(client);
  showTyping();
}

function showTyping() {
  const names = [...new Set([...(active?.typing.values() ?? [])].map(({ from }) => from))];
  const [one, two] = names;
  $("typing").classList.toggle("shown", names.length > 0);
  if (names.length === 0) $("typists").textContent = "";
  else $("typists").textContent = say(names.length === 1 ? "typesOne" : names.length === 2 ? "typesTwo" : "typesMany", { one, two });
}

input.addEventListener("input", () => {
  if (!active || input.value.trim() === "" || Date.now() - typedAt < TYPING_EVERY) return;
  typedAt = Date.now();
  line.tell("chat/typing", { room: active.name });
});

// ---- sending ----

function settle(message) {
  unsent.delete(message);
  message.item.remove();
  $("unsent").hidden = unsent.size === 0;
}

function post(room, text) {
  const message = { room, text, item: make("li") };
  unsent.add(message);
  const status = make("span", "status");
  message.item.append(status, make("span", "text", text));
  const show = () => {
    if (!unsent.has(message)) return;
    $("unsent").append(message.item);
    $("unsent").hidden = false;
  };
  word(status, isOpen ? "sending" : "offline");
  // A message that arrives at once is not shown as one on its way.
  setTimeout(show, isOpen ? 400 : 0);
  line.request("chat/send", { room, text }).then(() => settle(message), (error) => {
    if (!unsent.has(message)) return;
    if (error.retryAfter) {
      setTimeout(() => {
        if (!unsent.has(message)) return;
        settle(message);
        post(room, text);
      }, error.retryAfter);
      return;
    }
    status.classList.add("failed");
    word(status, error.code === "lost" ? "unconfirmed" : "refused", { reason: error.message });
    const again = word(make("button", "quiet"), "again");
    again.type = "button";
    again.addEventListener("click", () => {
      settle(message);
      post(room, text);
      input.focus();
    });
    message.item.append(again);
    show();
  });
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text === "" || !active || unsent.size >= MAX_UNSENT) return;
  post(active.name, text);
  input.value = "";
  typedAt = 0;
  input.focus();
});

// ---- the connection ----

function onState(name, details) {
  isOpen = name === "open";
  state.dataset.state = name;
  word(state, name, { seconds: Math.max(1, Math.round((details.delay ?? 0) / 1000)) });
  $("reconnect").hidden = name !== "waiting" && name !== "closed";
  const values = { code: details.code, reason: details.reason ? `: ${details.reason}` : "" };
  if (isOpen) {
    me = { user: details.user ?? say("guest"), client: details.client };
    const show = (event) => (data) => onEvent({ event, data });
    line.request("$subscribe", { ch: "lobby" }).catch(() => {});
    for (const event of ["chat/rooms", "chat/online"]) line.request(event).then(show(event), () => {});
    for (const room of rooms.keys()) join(room);
  } else if (wasOpen) {
    for (const room of rooms.values()) {
      room.members.clear();
      room.typing.clear();
      if (name === "waiting") notice(room, "error", "lost", values);
    }
    online = { users: [], count: 0 };
    showPeople();
    showTyping();
  }
  if (name === "closed" && details.code !== 1000) {
    for (const room of rooms.values()) notice(room, "error", "kicked", values);
  }
  wasOpen = isOpen;
}

function onEvent({ event, ch, data }) {
  const room = rooms.get((ch ?? data?.ch ?? "").replace(/^room:/, ""));
  if (event === "chat/rooms") {
    listed = data.rooms;
    showRooms();
  } else if (event === "chat/online") {
    online = data;
    showPeople();
  } else if (!room) {
    // Of a room that was just left.
  } else if (event === "chat/message") {
    heard(room, data);
  } else if (event === "chat/typing") {
    typing(room, data);
  } else if (event === "$join" || event === "$leave") {
    comeAndGo(room, event === "$join", data);
  } else if (event === "$gap") {
    notice(room, "error", "gap", { count: data.dropped });
    countMembers(room);
  }
}

function comeAndGo(room, joins, { members, count, more }) {
  for (const { client, user } of members) {
    const known = room.members.has(client);
    if (joins) room.members.set(client, user);
    else room.members.delete(client);
    stopTyping(room, client);
    if (known === joins || client === me.client) continue;
    // Who is here with another tab has neither come nor gone.
    const elsewhere = [...room.members].some(([other, name]) => other !== client && name === user);
    if (!elsewhere && user !== undefined) notice(room, "info", joins ? "joined" : "left", { user });
  }
  if (more || room.members.size !== count) countMembers(room);
  if (room === active) showPeople();
}

// ---- the page ----

function showWelcome(room) {
  active = null;
  $("main").classList.add("guest");
  history.replaceState(null, "", "/chat");
  if (room) $("first-room").value = room;
  $("name").focus();
}

function enter(user, room) {
  me = { user, client: "" };
  $("main").classList.remove("guest");
  wasOpen = false;
  rooms.clear();
  const address = new URL(socketAddress);
  address.searchParams.set("name", user);
  line = new Connection(address, { state: onState, event: onEvent });
  choose(room);
  input.focus();
}

function showSnippet() {
  const user = encodeURIComponent(me.user || "ada");
  const request = { event: "$subscribe", id: 1, ch: `room:${active?.name ?? "tea"}` };
  const subscribe = JSON.stringify(request).replaceAll("\\", "\\\\").replaceAll("'", "\\u0027");
  $("snippet").replaceChildren(...[
    `const ws = new WebSocket("${socketAddress.href}?name=${user}", "antiphon.v2.json");`,
    `ws.onopen = () => ws.send('${subscribe}');`,
    "ws.onmessage = (event) => console.log(JSON.parse(event.data));",
  ].map((text) => make("span", "line", `${text}\n`)));
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const [user, room] = [$("name").value.trim(), $("first-room").value.trim()];
  if (user && room) enter(user, room);
});
$("open-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = $("new-room").value.trim();
  $("new-room").value = "";
  if (room) choose(room);
  input.focus();
});
$("leave").addEventListener("click", () => leave(active));
$("reconnect").addEventListener("click", () => line.connect());
// A network that is back does not wait for its turn.
addEventListener("online", () => state.dataset.state === "waiting" && line.connect());
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !active) return;
  active.unread = 0;
  showRooms();
});

$("language").addEventListener("click", () => {
  language = language === "en" ? "zh" : "en";
  try {
    localStorage.setItem("antiphon-language", language);
  } catch {
    // A browser that keeps nothing still switches.
  }
  translate();
});

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("snippet").textContent);
    $("copy").textContent = say("copied");
    setTimeout(() => ($("copy").textContent = say("copy")), 1500);
  } catch {
    // No permission, or no secure context: the code is marked for the reader to copy.
    getSelection().selectAllChildren($("snippet"));
  }
});

function preferred() {
  try {
    const kept = localStorage.getItem("antiphon-language");
    if (kept in TEXTS) return kept;
  } catch {
    // As below.
  }
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

language = preferred();
translate();
showSnippet();
const asked = new URLSearchParams(location.search);
if (asked.get("room")) $("first-room").value = asked.get("room");
if (asked.get("name") && asked.get("room")) enter(asked.get("name"), asked.get("room"));
