// What stands in the room that is shown: messages, comings and goings, and what went wrong. It lives in this page alone.

import { $, Tail, make, speech } from "../shared/dom";
import type { Values } from "../shared/i18n";
import type { Spoken } from "./events";
import { type Room, chat, words } from "./page";
import { face, here, showRooms } from "./people";
import type { Key } from "./texts";
import { typesNoMore } from "./typing";
import { arrived } from "./unsent";

/** More lines of a room than anybody reads; older ones make room. */
const MAX_LINES = 500;
/** Messages of one person within this time stand together. */
const TOGETHER = 120_000;

const [log, lines] = [$("log"), $("lines")];
const tail = new Tail(log);

type Kind = "sent" | "received" | "info" | "error";

function put(room: Room, kind: Kind, parts: HTMLElement[], latest: Room["latest"]): HTMLElement {
  const item = make("li", kind);
  item.dataset.kind = kind;
  item.append(...parts);
  room.lines.push(item);
  room.latest = latest;
  if (room === chat.active) lines.append(item);
  while (room.lines.length > MAX_LINES) room.lines.shift()?.remove();
  if (room === chat.active) {
    showEmpty();
    tail.grown(kind === "sent");
  }
  return item;
}

export function notice(room: Room, kind: "info" | "error", key: Key, values: Values = {}): void {
  put(room, kind, [words.put(make("span", "text"), key, values)], null);
}

export function heard(room: Room, { from, client, text, at }: Spoken): void {
  const own = client === chat.me.client;
  const clock = new Date(at).toLocaleTimeString(words.tag, { hour: "numeric", minute: "2-digit" });
  const first = room.latest?.client !== client || at - room.latest.at > TOGETHER;
  const who = make("span", first ? "who" : "hidden");
  who.append(own ? words.put(make("b"), "yourself") : make("b", "", from), ` ${clock}`);
  const parts = [who, speech(text)];
  if (!own && first) parts.unshift(face(from));
  const item = put(room, own ? "sent" : "received", parts, { client, at });
  if (first) item.classList.add("first");
  typesNoMore(room, client);
  if (own) {
    arrived(room.name, text);
  } else if (room !== chat.active || document.hidden) {
    room.unread += 1;
    showRooms();
  }
}

/** Shows the lines of the room that is active now. */
export function showLines(): void {
  // What stands there already is not read out once more.
  log.setAttribute("aria-busy", "true");
  lines.replaceChildren(...(chat.active?.lines ?? []));
  requestAnimationFrame(() => log.removeAttribute("aria-busy"));
  showEmpty();
  tail.toEnd();
}

/** In a room in which nobody has said anything: what to do about it. */
export function showEmpty(): void {
  const said = chat.active?.lines.some((item) => item.dataset.kind === "sent" || item.dataset.kind === "received");
  const alone = here().size < 2;
  $("empty").hidden = said ?? true;
  $("empty-second").hidden = !alone;
  // One way to the second tab is enough.
  $("second").hidden = alone && !said;
  words.put($("empty-title"), alone ? "emptyAlone" : "empty");
  words.put($("empty-more"), alone ? "emptyAloneMore" : "emptyMore");
}
