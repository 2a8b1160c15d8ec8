// Who is typing in the room that is shown.

import { $ } from "../shared/dom";
import { type Room, chat, words } from "./page";

/** How long a hint is believed. */
const TYPING_FOR = 5000;

export function types(room: Room, from: string, client: string): void {
  clearTimeout(room.typing.get(client)?.timer);
  room.typing.set(client, { from, timer: window.setTimeout(() => typesNoMore(room, client), TYPING_FOR) });
  showTyping();
}

export function typesNoMore(room: Room, client: string): void {
  clearTimeout(room.typing.get(client)?.timer);
  if (room.typing.delete(client)) showTyping();
}

/** Nobody does, as far as this page knows. */
export function nobodyTypes(room: Room): void {
  for (const { timer } of room.typing.values()) clearTimeout(timer);
  room.typing.clear();
  showTyping();
}

export function showTyping(): void {
  const typists = [...(chat.active?.typing.values() ?? [])];
  const names = [...new Set(typists.map(({ from }) => from))];
  const key = (["typesOne", "typesTwo"] as const)[names.length - 1] ?? "typesMany";
  $("typing").classList.toggle("shown", names.length > 0);
  $("typists").textContent = names.length === 0 ? "" : words.say(key, { one: names[0], two: names[1] });
}
