// The log as the page holds it: what was there, what comes, and what was left out.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import type { Entry, Frame } from "./api.js";
import { useCell } from "./lib/cell.js";
import { Ring } from "./lib/ring.js";
import { epoch, listen, MAX_ENTRIES, request } from "./link.js";

const FIRST_LIMIT = 200;
const OLDER_LIMIT = 500;
/** Frames of one connection that the page holds. */
const MAX_FRAMES = 300;

/** Draws at most once a frame of the screen, whatever comes in between. */
function useDraw(): () => void {
  const [, draw] = useState(0);
  const asked = useRef(0);
  useEffect(() => () => cancelAnimationFrame(asked.current), []);
  return useCallback(() => {
    if (asked.current !== 0) return;
    asked.current = requestAnimationFrame(() => {
      asked.current = 0;
      draw((count) => count + 1);
    });
  }, []);
}

export interface Log {
  /** The oldest first. */
  entries: Ring<Entry>;
  /** What the server left out. */
  lost: number;
  loading: boolean;
  error: unknown;
  /** Whether the server may have older ones. */
  open: boolean;
  older(): void;
  reload(): void;
}

export function useLog(): Log {
  const generation = useCell(epoch);
  const draw = useDraw();
  const log = useRef({
    entries: new Ring<Entry>(MAX_ENTRIES), lost: 0, last: 0, loading: true, open: false, error: undefined as unknown,
  }).current;

  const take = (items: readonly Entry[]): void => {
    for (const entry of items) {
      // After a reconnect the two overlap.
      if (entry.seq <= log.last) continue;
      log.entries.push(entry);
      log.last = entry.seq;
    }
  };

  const load = useCallback(async () => {
    try {
      const { items } = await request("admin/log", { limit: FIRST_LIMIT });
      const newest = items.at(-1)?.seq ?? 0;
      // Another life of the server counts from the start.
      if (newest < log.last) {
        log.entries.clear();
        log.last = 0;
      }
      if (log.entries.length === 0) log.open = items.length === FIRST_LIMIT;
      take(items);
      log.error = undefined;
    } catch (error) {
      log.error = error;
    }
    log.loading = false;
    draw();
  }, []);

  useEffect(() => {
    if (generation === 0) return;
    void load();
    return listen("log", "entries", ({ items, lost }) => {
      take(items);
      log.lost += lost;
      draw();
    });
  }, [generation]);

  const older = useCallback(async () => {
    const first = log.entries.at(0);
    if (first === undefined || !log.open) return;
    log.open = false;
    const { items } = await request("admin/log", { before: first.seq, limit: OLDER_LIMIT }).catch(() => ({ items: [] }));
    log.entries.prepend(items);
    log.open = items.length === OLDER_LIMIT && log.entries.length < MAX_ENTRIES;
    draw();
  }, []);

  return { ...log, older: () => void older(), reload: () => void load() };
}

export interface Frames {
  /** The oldest first. */
  frames: Ring<Frame>;
  clear(): void;
  /** A new trace counts from the start. */
  restart(): void;
}

/** The frames of a traced connection: those that the server has kept, and those that come. */
export function useFrames(id: string, first: readonly Frame[], live: boolean, ended: () => void): Frames {
  const draw = useDraw();
  const held = useRef({ frames: new Ring<Frame>(MAX_FRAMES), last: 0 }).current;
  const generation = useCell(epoch);
  const take = (items: readonly Frame[]): void => {
    for (const frame of items) {
      if (frame.seq <= held.last) continue;
      held.last = frame.seq;
      held.frames.push(frame);
    }
    draw();
  };
  useEffect(() => take(first), [first]);
  useEffect(() => {
    if (!live || generation === 0) return;
    const frames = listen(`trace:${id}`, "frame", (frame) => take([frame]));
    const end = listen(`trace:${id}`, "ended", ended);
    return () => {
      frames();
      end();
    };
  }, [id, live, generation]);
  return {
    frames: held.frames,
    clear: () => {
      held.frames.clear();
      draw();
    },
    restart: () => {
      held.frames.clear();
      held.last = 0;
    },
  };
}
