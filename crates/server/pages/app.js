// The demo page: talks to /ws, shows what is sent, what comes back and how the connection is.
// Text of the server is only ever set as textContent.

const TEXTS = {
  en: {
    subtitle: "A WebSocket that answers",
    subtitleCommand: "A program behind a WebSocket",
    chat: "Chat",
    conversation: "Conversation",
    open: "Connected",
    connecting: "Connecting",
    closed: "Closed",
    reconnect: "Reconnect",
    disconnect: "Close",
    empty: "Say something. The server sends it straight back.",
    emptyCommand: "Each message is a line of the program's input; each line it prints comes back.",
    message: "Message",
    placeholder: "Type a message",
    send: "Send",
    roundtrip: "Round trip",
    sent: "Sent",
    received: "Received",
    yours: "In your own page",
    copy: "Copy",
    copied: "Copied",
    elsewhere: "With --origin, pages of other sites may connect too",
    opened: "Connected to {url}",
    ended: "Connection closed ({code}{reason})",
    endedByServer: "The server went away ({code}{reason})",
    lost: "Connection lost: the server does not answer",
    refused: "Cannot connect to {url}",
    notOpen: "Not sent: the connection is closed",
    you: "You",
    server: "Server",
  },
  zh: {
    subtitle: "有问必答的 WebSocket",
    subtitleCommand: "WebSocket 背后的程序",
    chat: "聊天室",
    conversation: "对话",
    open: "已连接",
    connecting: "连接中",
    closed: "已断开",
    reconnect: "重新连接",
    disconnect: "断开",
    empty: "随便说点什么，服务器会原样返回。",
    emptyCommand: "每条消息是程序的一行输入，程序输出的每一行都会返回。",
    message: "消息",
    placeholder: "输入消息",
    send: "发送",
    roundtrip: "往返时间",
    sent: "已发送",
    received: "已接收",
    yours: "用在你的页面里",
    copy: "复制",
    copied: "已复制",
    elsewhere: "加上 --origin 选项，其他网站的页面也可以连接",
    opened: "已连接到 {url}",
    ended: "连接已关闭（{code}{reason}）",
    endedByServer: "服务器已停止（{code}{reason}）",
    lost: "连接中断：服务器没有响应",
    refused: "无法连接到 {url}",
    notOpen: "未发送：连接已关闭",
    you: "你",
    server: "服务器",
  },
};

// More lines than anybody reads; older ones make room.
const MAX_LINES = 500;
// What a browser may hold unsent before the page stops taking more.
const MAX_BUFFERED = 4 * 1024 * 1024;

const $ = (id) => document.getElementById(id);
const [log, empty, state, input, send] = ["log", "empty", "state", "message", "send"].map($);
const scroll = log.parentElement;
const command = document.documentElement.dataset.mode === "command";
const address = new URL("/ws", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";

let language = "en";
let socket = null;
// When each message was sent: an echo answers in order.
let waiting = [];
const counts = { sent: { messages: 0, bytes: 0 }, received: { messages: 0, bytes: 0 } };

function say(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

function sizeOf(bytes) {
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  if (bytes < 1024) return `${number.format(bytes)} B`;
  if (bytes < 1024 * 1024) return `${number.format(bytes / 1024)} KiB`;
  return `${number.format(bytes / 1024 / 1024)} MiB`;
}

function timeOf(milliseconds) {
  const digits = milliseconds < 10 ? 1 : 0;
  return `${new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(milliseconds)} ms`;
}

// Fixed words are kept as keys, so that a change of language reaches lines that stand already.
function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-text]")) {
    const key = element.dataset.text;
    const values = element.dataset.values ? JSON.parse(element.dataset.values) : {};
    element.textContent = say(command && TEXTS[language][`${key}Command`] ? `${key}Command` : key, values);
  }
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
  const other = language === "en" ? { name: "中文", lang: "zh" } : { name: "English", lang: "en" };
  Object.assign($("language"), { textContent: other.name, lang: other.lang });
  $("language").setAttribute("aria-label", other.name);
  showCounts();
}

function showCounts() {
  for (const [way, count] of Object.entries(counts)) {
    $(way).textContent = count.messages === 0 ? "0" : `${count.messages} · ${sizeOf(count.bytes)}`;
  }
}

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

// kind: sent, received, info or error
function line(kind, parts) {
  const follow = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  const item = document.createElement("li");
  item.className = kind;
  item.dataset.kind = kind;
  item.append(...parts);
  log.append(item);
  while (log.children.length > MAX_LINES) log.firstChild.remove();
  empty.hidden = log.querySelector(".sent, .received") !== null;
  if (follow || kind === "sent") scroll.scrollTop = scroll.scrollHeight;
}

function notice(kind, key, values = {}) {
  const text = span("text", say(key, values));
  text.dataset.text = key;
  text.dataset.values = JSON.stringify(values);
  const clock = span("meta", new Date().toLocaleTimeString(document.documentElement.lang));
  line(kind, [text, clock]);
}

function spoken(kind, text, details) {
  const who = span("hidden", "");
  who.dataset.text = kind === "sent" ? "you" : "server";
  who.textContent = say(who.dataset.text);
  line(kind, [who, span("text", text), span("meta", details.filter(Boolean).join(" · "))]);
}

function show(name) {
  state.dataset.state = name;
  state.dataset.text = name;
  state.textContent = say(name);
  send.disabled = name !== "open";
  $("reconnect").hidden = name !== "closed";
  $("disconnect").hidden = name !== "open";
}

function connect() {
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
  current.addEventListener("message", (event) => {
    const binary = event.data instanceof ArrayBuffer;
    const bytes = binary ? new Uint8Array(event.data) : new TextEncoder().encode(event.data);
    counts.received.messages += 1;
    counts.received.bytes += bytes.length;
    let took = null;
    if (!command && waiting.length > 0) {
      took = timeOf(performance.now() - waiting.shift());
      $("roundtrip").textContent = took;
    }
    const text = binary ? Array.from(bytes.subarray(0, 256), (byte) => byte.toString(16).padStart(2, "0")).join(" ") : event.data;
    spoken("received", text, [sizeOf(bytes.length), took]);
    showCounts();
  });
  current.addEventListener("close", (event) => {
    if (current !== socket) return;
    show("closed");
    const values = { url: address.href, code: event.code, reason: event.reason ? `: ${event.reason}` : "" };
    if (!opened) notice("error", "refused", values);
    else if (event.code === 1006) notice("error", "lost", values);
    else if (event.code === 1001 || event.code === 1012) notice("error", "endedByServer", values);
    else notice(event.code === 1000 || event.code === 1005 ? "info" : "error", "ended", values);
  });
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value;
  if (text === "") return;
  if (!socket || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_BUFFERED) {
    notice("error", "notOpen");
    return;
  }
  const bytes = new TextEncoder().encode(text).length;
  if (!command) waiting.push(performance.now());
  socket.send(text);
  counts.sent.messages += 1;
  counts.sent.bytes += bytes;
  spoken("sent", text, [sizeOf(bytes)]);
  showCounts();
  input.value = "";
  input.focus();
});

$("reconnect").addEventListener("click", () => {
  connect();
  input.focus();
});
$("disconnect").addEventListener("click", () => socket?.close(1000));

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
$("address").textContent = address.href;
$("roundtrip-fact").hidden = command;
const snippet = [
  `const ws = new WebSocket("${address.href}");`,
  "ws.onmessage = (event) => alert(event.data);",
  'ws.onopen = () => ws.send("hello");',
];
$("snippet").append(...snippet.map((text) => span("line", `${text}\n`)));
translate();
connect();
