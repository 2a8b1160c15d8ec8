// What the chat's server and its page tell each other, beyond the protocol. The other side is crates/server/src/demo.rs.

/** Somebody has said something in a room. */
export interface Spoken {
  from: string;
  client: string;
  text: string;
  /** Milliseconds since 1970. */
  at: number;
}

/** Somebody types. */
export interface Hint {
  from: string;
  client: string;
}

export interface Listed {
  rooms: { name: string; count: number }[];
}

export interface Online {
  users: { name: string; connections: number }[];
  /** Of all users, also where not all are listed. */
  count: number;
}

export type Events = {
  "chat/message": Spoken;
  "chat/typing": Hint;
  "chat/rooms": Listed;
  "chat/online": Online;
};

export type Requests = {
  "chat/send": (data: { room: string; text: string }) => void;
  "chat/typing": (data: { room: string }) => void;
  "chat/rooms": () => Listed;
  "chat/online": () => Online;
};

export const ROOM = "room:";
export const LOBBY = "lobby";
