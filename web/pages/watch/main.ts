// The page of `serve --watch`: fetches the file once, then shows each version that /ws sends.

import "./watch.css";

import { $, socketAddress } from "../shared/dom";
import { COMMON, Words } from "../shared/i18n";
import { startTheme } from "../shared/theme";

const en = { ...COMMON.en, subtitle: "A file, as it changes", open: "Live", reconnect: "Reconnect" };
type Key = keyof typeof en;
const zh: Record<Key, string> = { ...COMMON.zh, subtitle: "文件变化，实时可见", open: "实时", reconnect: "重新连接" };

/** How the server begins a message about a file that it cannot read. */
const PROBLEM = "antiphon: error: ";

const words = new Words<Key>({ en, zh });
const file = $("file");

function show(state: "connecting" | "open" | "closed"): void {
  $("state").dataset.state = state;
  words.put($("state"), state);
  $("reconnect").hidden = state !== "closed";
}

function fill(content: string): void {
  // Somebody who reads the end of a log wants to stay there.
  const atEnd = file.scrollHeight - file.scrollTop - file.clientHeight < 40;
  file.textContent = content;
  $("size").textContent = words.size(new TextEncoder().encode(content).length);
  $("problem").hidden = true;
  if (atEnd) file.scrollTop = file.scrollHeight;
  file.classList.remove("changed");
  requestAnimationFrame(() => file.classList.add("changed"));
}

function problem(text: string): void {
  $("problem").textContent = text;
  $("problem").hidden = false;
}

async function connect(): Promise<void> {
  show("connecting");
  let version = "";
  try {
    const answer = await fetch("/file", { cache: "no-store" });
    $("name").textContent = decodeURIComponent(answer.headers.get("file-name") ?? "");
    document.title = $("name").textContent || "antiphon";
    if (answer.ok) {
      version = answer.headers.get("last-mod") ?? "";
      fill(await answer.text());
    }
  } catch {
    show("closed");
    return;
  }
  const socket = new WebSocket(socketAddress(`/ws?lastMod=${version}`));
  socket.addEventListener("open", () => show("open"));
  socket.addEventListener("close", () => show("closed"));
  socket.addEventListener("message", ({ data }: MessageEvent<string>) => {
    if (data.startsWith(PROBLEM)) problem(data.slice(PROBLEM.length));
    else fill(data);
  });
}

$("reconnect").addEventListener("click", () => void connect());
const theme = startTheme((toDark) => words.say(toDark ? "toDark" : "toLight"));
words.start();
words.onChange(theme);
void connect();
