// Lists that are longer than one answer: by offset, as far as somebody looks; and behind the last name, page after page.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import type { Connection, ConnectionsQuery, Requests } from "./api.js";
import { useCell } from "./lib/cell.js";
import { pagesOf } from "./lib/window.js";
import { epoch, request, state } from "./link.js";

/** Rows of one fetch. */
const PAGE = 200;
/** While somebody scrolls fast, only where they stop is fetched. */
const SETTLE_MS = 80;
/** Pages that are held; those far from the view make room. */
const MAX_PAGES = 40;

export interface Rows {
  total: number | undefined;
  /** The server's clock is not asked: when the latest answer came. */
  at: number;
  error: unknown;
  row(index: number): Connection | undefined;
  look(first: number, end: number): void;
  reload(): void;
}

/** `query` gives the filter at the time of asking; `key` changes when it means another list. */
export function useRows(key: string, query: () => Omit<ConnectionsQuery, "offset" | "limit">, every?: number): Rows {
  const [, draw] = useState(0);
  const generation = useCell(epoch);
  const held = useRef({
    pages: new Map<number, Connection[]>(),
    fresh: new Set<number>(),
    asking: new Set<number>(),
    total: undefined as number | undefined,
    error: undefined as unknown,
    at: 0,
    first: 0,
    end: PAGE / 4,
    timer: 0,
    life: new AbortController(),
  });

  const fetchSeen = useCallback(() => {
    const list = held.current;
    if (state.value.name !== "open") return;
    const { signal } = list.life;
    for (const page of pagesOf(list.first, list.end, PAGE)) {
      if (list.fresh.has(page) || list.asking.has(page)) continue;
      list.asking.add(page);
      request("admin/connections", { ...query(), offset: page * PAGE, limit: PAGE }, { signal })
        .then(({ items, total }) => {
          if (signal.aborted) return;
          list.pages.set(page, items);
          list.fresh.add(page);
          list.total = total;
          list.error = undefined;
          list.at = Date.now();
          forget(list.pages, page);
        })
        .catch((error: unknown) => {
          if (!signal.aborted) list.error = error;
        })
        .finally(() => {
          if (signal.aborted) return;
          list.asking.delete(page);
          draw((count) => count + 1);
        });
    }
  }, [key]);

  /** What is shown stays until the answer is there. */
  const reload = useCallback(() => {
    const list = held.current;
    list.life.abort();
    list.life = new AbortController();
    list.asking.clear();
    list.fresh.clear();
    fetchSeen();
  }, [fetchSeen]);

  useEffect(() => {
    const list = held.current;
    list.pages.clear();
    list.total = undefined;
    list.error = undefined;
    list.first = 0;
    list.end = PAGE / 4;
    draw((count) => count + 1);
  }, [key]);

  useEffect(() => {
    reload();
    const timer = every === undefined ? 0 : setInterval(() => !document.hidden && held.current.asking.size === 0 && reload(), every);
    return () => clearInterval(timer);
  }, [reload, generation, every]);

  useEffect(
    () => () => {
      held.current.life.abort();
      clearTimeout(held.current.timer);
    },
    [],
  );

  const look = useCallback(
    (first: number, end: number) => {
      const list = held.current;
      list.first = first;
      list.end = end;
      clearTimeout(list.timer);
      list.timer = setTimeout(fetchSeen, SETTLE_MS) as unknown as number;
    },
    [fetchSeen],
  );

  const { total, at, error, pages } = held.current;
  return { total, at, error, look, reload, row: (index) => pages.get(Math.floor(index / PAGE))?.[index % PAGE] };
}

function forget(pages: Map<number, unknown>, near: number): void {
  if (pages.size <= MAX_PAGES) return;
  const far = [...pages.keys()].reduce((a, b) => (Math.abs(b - near) > Math.abs(a - near) ? b : a));
  pages.delete(far);
}

/** What was fetched behind a name before: a list that is fetched again keeps its length. */
function behind<Item>(items: readonly Item[], last: Item | undefined, nameOf: (item: Item) => string): readonly Item[] {
  if (last === undefined) return [];
  const name = nameOf(last);
  const at = items.findIndex((item) => nameOf(item) === name);
  return at >= 0 ? items.slice(at + 1) : items.filter((item) => nameOf(item) > name);
}

type Listed = "admin/users" | "admin/tags";
type ItemOf<Name extends Listed> = ReturnType<Requests[Name]>["items"][number];

export interface Chain<Item> {
  items: readonly Item[];
  total: number | undefined;
  error: unknown;
  loading: boolean;
  /** There are more behind the last one. */
  open: boolean;
  more(): void;
  reload(): void;
}

/** A list in the order of names, fetched behind its last one. */
export function useChain<Name extends Listed>(
  name: Name,
  data: Omit<Parameters<Requests[Name]>[0], "after" | "limit">,
  nameOf: (item: ItemOf<Name>) => string,
  every?: number,
): Chain<ItemOf<Name>> {
  type Item = ItemOf<Name>;
  type Held = { key: string; items: readonly Item[]; total?: number; open: boolean; error?: unknown };
  const key = name + JSON.stringify(data);
  const generation = useCell(epoch);
  const [held, setHeld] = useState<Held | undefined>();
  const current = held?.key === key ? held : undefined;
  const latest = useRef<Held | undefined>(undefined);
  latest.current = current;
  const asking = useRef<AbortController | undefined>(undefined);

  const load = useCallback(
    (onward: boolean) => {
      if (state.value.name !== "open" || (onward && asking.current !== undefined)) return;
      asking.current?.abort();
      const mine = new AbortController();
      asking.current = mine;
      const before = onward ? (latest.current?.items ?? []) : [];
      const last = before.at(-1);
      // Again: as many as are shown, so that the list does not jump.
      const limit = onward ? PAGE : Math.min(500, Math.max(PAGE, latest.current?.items.length ?? 0));
      const asked = { ...data, limit, ...(last === undefined ? {} : { after: nameOf(last) }) };
      request(name, asked as Parameters<Requests[Name]>[0], { signal: mine.signal })
        .then((reply) => {
          if (mine.signal.aborted) return;
          const items = reply.items as Item[];
          const open = items.length === limit;
          const rest = onward || !open ? [] : behind(latest.current?.items ?? [], items.at(-1), nameOf);
          const kept = { total: reply.total, open: rest.length > 0 ? (latest.current?.open ?? open) : open };
          setHeld({ key, items: [...before, ...items, ...rest], ...kept });
        })
        .catch((error: unknown) => {
          if (!mine.signal.aborted) setHeld({ ...(latest.current ?? { items: [], open: false }), key, error });
        })
        .finally(() => {
          if (asking.current === mine) asking.current = undefined;
        });
    },
    [key],
  );

  useEffect(() => {
    load(false);
    const timer = every === undefined ? 0 : setInterval(() => !document.hidden && asking.current === undefined && load(false), every);
    return () => {
      clearInterval(timer);
      asking.current?.abort();
      asking.current = undefined;
    };
  }, [load, generation, every]);

  return {
    items: current?.items ?? [],
    total: current?.total,
    error: current?.error,
    loading: current === undefined,
    open: current?.open ?? false,
    more: () => load(true),
    reload: () => load(false),
  };
}
