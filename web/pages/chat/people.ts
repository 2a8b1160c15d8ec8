// Who is here, who is online, and which rooms there are.

import { $, make } from "../shared/dom";
import { chat, words } from "./page";

export function face(user: string): HTMLElement {
  let hash = 7;
  for (const character of user) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  const element = make("span", "face", [...user][0] ?? "?");
  element.dataset.hue = String(hash % 8);
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** A number that is read out with its meaning. */
function badge(name: string, text: string | number, meaning: string): HTMLElement {
  const element = make("span", name, text);
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", meaning);
  return element;
}

function roomItem(name: string, count: number): HTMLElement {
  const button = make("button");
  button.type = "button";
  button.dataset.room = name;
  const room = chat.rooms.get(name);
  if (room) button.dataset.joined = "";
  if (room && room === chat.active) button.setAttribute("aria-current", "true");
  button.append(make("span", "label", name));
  const unread = room?.unread ?? 0;
  if (unread) button.append(badge("unread", unread > 99 ? "99+" : unread, words.say("unread", { count: unread })));
  button.append(badge("count", count, words.say("members", { count })));
  const item = make("li");
  item.append(button);
  return item;
}

export function showRooms(): void {
  const counts = new Map(chat.listed.map((room) => [room.name, room.count]));
  for (const [name, room] of chat.rooms) counts.set(name, counts.get(name) ?? room.members.size);
  const focused = (document.activeElement as HTMLElement | null)?.dataset.room;
  const byName = [...counts].sort(([a], [b]) => a.localeCompare(b));
  $("rooms").replaceChildren(...byName.map(([name, count]) => roomItem(name, count)));
  if (focused) $("rooms").querySelector<HTMLElement>(`[data-room="${CSS.escape(focused)}"]`)?.focus();
  const unread = [...chat.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}${chat.active ? `#${chat.active.name} · ` : ""}antiphon chat`;
}

function person(user: string, connections: number): HTMLElement {
  const item = make("li");
  item.dataset.user = user;
  item.append(face(user), make("span", "label", user));
  if (user === chat.me.user) item.append(make("span", "own", words.say("you")));
  if (connections > 1) item.append(make("span", "count", `×${connections}`));
  return item;
}

/** How many different users are in the room that is shown. */
export function here(): Map<string, number> {
  const users = new Map<string, number>();
  for (const user of chat.active?.members.values() ?? []) {
    const name = user ?? words.say("guest");
    users.set(name, (users.get(name) ?? 0) + 1);
  }
  return users;
}

export function showPeople(): void {
  const users = here();
  const byName = [...users].sort(([a], [b]) => a.localeCompare(b));
  $("here").replaceChildren(...byName.map(([user, connections]) => person(user, connections)));
  $("here-count").textContent = String(users.size);
  $("online").replaceChildren(
    ...chat.online.users.map(({ name }) => {
      const item = make("li");
      item.dataset.user = name;
      item.append(make("span", "label", name));
      return item;
    }),
  );
  $("online-count").textContent = String(chat.online.count);
}
