// The page of `serve --watch`: fetches the file once, then shows each version that /ws sends.
// The file is only ever set as textContent.

const TEXTS = {
  en: { subtitle: "A file, as it changes", open: "Live", connecting: "Connecting", closed: "Closed", reconnect: "Reconnect" },
  zh: { subtitle: "文件变化，实时可见", open: "实时", connecting: "连接中", closed: "已断开", reconnect: "重新连接" },
};

// How the server begins a message about a file that it cannot read.
const PROBLEM = "antiphon: error: ";

const $ = (id) => document.getElementById(id);
const text = TEXTS[navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"];
const file = $("file");

function show(state) {
  $("state").dataset.state = state;
  $("state").textContent = text[state];
  $("reconnect").hidden = state !== "closed";
}

function fill(content) {
  // Somebody who reads the end of a log wants to stay there.
  const atEnd = file.scrollHeight - file.scrollTop - file.clientHeight < 40;
  file.textContent = content;
  $("size").textContent = `${new TextEncoder().encode(content).length} B`;
  $("problem").hidden = true;
  if (atEnd) file.scrollTop = file.scrollHeight;
  file.classList.remove("changed");
  requestAnimationFrame(() => file.classList.add("changed"));
}

function problem(words) {
  $("problem").textContent = words;
  $("problem").hidden = false;
}

async function connect() {
  show("connecting");
  let version = "";
  try {
    const answer = await fetch("/file", { cache: "no-store" });
    $("name").textContent = decodeURIComponent(answer.headers.get("file-name") ?? "");
    document.title = $("name").textContent;
    if (answer.ok) {
      version = answer.headers.get("last-mod") ?? "";
      fill(await answer.text());
    }
  } catch {
    show("closed");
    return;
  }
  const address = new URL(`/ws?lastMod=${version}`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.addEventListener("open", () => show("open"));
  socket.addEventListener("close", () => show("closed"));
  socket.addEventListener("message", (event) => {
    if (event.data.startsWith(PROBLEM)) problem(event.data.slice(PROBLEM.length));
    else fill(event.data);
  });
}

for (const element of document.querySelectorAll("[data-text]")) element.textContent = text[element.dataset.text];
document.documentElement.lang = navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
$("reconnect").addEventListener("click", connect);
connect();
