// What the parts of the chat share: the rooms that this page is in, and who it is.

import { Words } from "../shared/i18n";
import type { Listed, Online } from "./events";
import { type Key, TEXTS } from "./texts";

export interface Typist {
  from: string;
  timer: number;
}

export interface Room {
  name: string;
  /** The server has let this page in. */
  joined: boolean;
  /** Everything that stands in the room; the oldest first. */
  lines: HTMLElement[];
  /** Whose line is the last one, and when it was said. */
  latest: { client: string; at: number } | null;
  /** The user of each connection in the room. */
  members: Map<string, string | undefined>;
  typing: Map<string, Typist>;
  unread: number;
}

export const chat = {
  me: { user: "", client: "" },
  open: false,
  active: null as Room | null,
  rooms: new Map<string, Room>(),
  /** What the lobby says. */
  listed: [] as Listed["rooms"],
  online: { users: [], count: 0 } as Online,
};

/** The lines of rooms that are not shown now speak the reader's language, too. */
export const words = new Words<Key>(TEXTS, () => [...chat.rooms.values()].flatMap((room) => room.lines));

/** The room of this name, which this page may have to join yet. */
export function roomOf(name: string): Room {
  const known = chat.rooms.get(name);
  if (known) return known;
  const room: Room = { name, joined: false, lines: [], latest: null, members: new Map(), typing: new Map(), unread: 0 };
  chat.rooms.set(name, room);
  return room;
}
