// What the page and the server say to each other, as docs/admin.md has it. Times are milliseconds since 1970.

export interface Sample {
  at: number;
  connections: number;
  users: number;
  tags: number;
  /** Messages in this second. */
  received: number;
  written: number;
  published: number;
  dropped: number;
  /** Bytes in this second. */
  received_bytes: number;
  written_bytes: number;
  waiting_connections: number;
  waiting_messages: number;
  waiting_bytes: number;
  /** Slow readers that were closed or lost events in this second. */
  slow: number;
  memory_used: number;
  memory_limit: number;
  handlers: number;
  accepted: number;
  refused: number;
  /** How many closed in this second, by code. */
  closes: Record<string, number>;
  /** Share of one core; null where the system does not tell. */
  cpu: number | null;
  rss: number | null;
}

export interface Hello {
  version: string;
  node: string;
  started_at: number;
  now: number;
  dev: boolean;
  interval_ms: number;
  samples: Sample[];
  tracing: { max_connections: number; max_frames: number; max_bytes: number; max_seconds: number };
}

export interface ConnectionFilter {
  user?: string;
  name?: string;
  address?: string;
  app?: string;
  platform?: string;
  tag?: string;
  since?: number;
  until?: number;
}

export interface Connection {
  id: string;
  user?: string;
  name?: string;
  session?: string;
  app?: string;
  platform?: string;
  info?: unknown;
  address?: string;
  user_agent?: string;
  wire: string;
  connected_at: number;
  last_active: number;
  login_at?: number;
  expires_at?: number;
  /** In lists the first 16. */
  tags: string[];
  tags_count: number;
  waiting: number;
  waiting_bytes: number;
  traced: boolean;
}

export interface Closed {
  at: number;
  by: "client" | "server" | "network";
  code: number;
  reason: string;
  connection: Connection;
}

export interface Frame {
  seq: number;
  at: number;
  direction: "in" | "out";
  kind: "text" | "binary" | "close";
  /** Of the whole payload. */
  bytes: number;
  text: string;
  /** The text is longer than what is shown. */
  cut: boolean;
  /** It held a token, so its text is not shown. */
  hidden?: boolean;
}

export interface User {
  user: string;
  name?: string;
  connections: number;
}

export interface Tag {
  tag: string;
  count: number;
}

export type Target = { all: true } | { user: string } | { tag: string } | { connection: string };

export interface Delivery {
  receivers: number;
  queued: number;
  conflated: number;
  dropped: number;
  closing: number;
  remote?: boolean;
  unreachable?: boolean;
}

export const ENTRY_TYPES = [
  "connected",
  "disconnected",
  "joined",
  "left",
  "user_online",
  "user_offline",
  "tag_occupied",
  "tag_vacated",
  "admin",
] as const;
export type EntryType = (typeof ENTRY_TYPES)[number];

export interface Entry {
  seq: number;
  at: number;
  type: EntryType;
  connection?: string;
  user?: string;
  tag?: string;
  address?: string;
  code?: number;
  reason?: string;
  by?: Closed["by"];
  action?: "login" | "logout" | "login_failed" | "send" | "close" | "trace" | "untrace";
  detail?: string;
}

export interface ConfigRow {
  key: string;
  /** As TOML writes it. */
  value: string | null;
  /** null: the default. */
  source: string | null;
  secret: boolean;
  about: string;
}

export interface Node {
  id: string;
  node: string;
  self: boolean;
  version: string;
  started_at: number;
  connections: number;
  users: number;
  tags: number;
  seen_at: number;
}

interface Page<T> {
  items: T[];
  total: number;
}

/** Every request by its name: from its data to its reply. */
export type Requests = {
  "admin/hello": (data: Record<string, never>) => Hello;
  "admin/connections": (data: ConnectionsQuery) => Page<Connection>;
  "admin/connection": (data: { id: string }) => Detail;
  "admin/trace": (data: { id: string; on: boolean }) => { traced: boolean };
  "admin/users": (data: { after?: string; limit: number; prefix?: string }) => Page<User>;
  "admin/tags": (data: { pattern?: string; after?: string; limit: number }) => Page<Tag>;
  "admin/send": (data: { to: Target; event: string; data?: unknown }) => Delivery;
  "admin/close": (data: CloseWhat & { revoke: boolean }) => { closed: number; revoked: boolean };
  "admin/log": (data: { before?: number; limit: number }) => { items: Entry[] };
  "admin/closed": (data: { limit: number }) => { items: Closed[] };
  "admin/slow": (data: Record<string, never>) => { items: Connection[] };
  "admin/config": (data: Record<string, never>) => { file: string | null; rows: ConfigRow[] };
  "admin/nodes": (data: Record<string, never>) => { items: Node[] };
};

export interface ConnectionsQuery {
  filter: ConnectionFilter;
  offset: number;
  limit: number;
  newest?: boolean;
}

export interface Detail {
  connection: Connection | null;
  closed: Closed | null;
  frames: Frame[];
}

export type CloseWhat = { connection: string } | { user: string } | { session: string };

/** Every event by its name. */
export type Events = {
  sample: Sample;
  frame: Frame;
  /** No more frames of this trace come. */
  ended: { reason: "stopped" | "closed" | "time" };
  entries: { items: Entry[]; lost: number };
};
