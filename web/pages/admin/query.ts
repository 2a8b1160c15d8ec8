// Fetches over the connection for a view: what came last stays while the next is on its way.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import type { Requests } from "./api.js";
import { epoch, request, state } from "./link.js";
import { useCell } from "./lib/cell.js";

export interface Query<Reply> {
  data: Reply | undefined;
  error: unknown;
  /** The first answer is not there yet. */
  loading: boolean;
  reload(): void;
}

/** `every`: again after so many milliseconds, as long as the page can be seen. `data` undefined: nothing is asked. */
export function useQuery<Name extends keyof Requests>(
  name: Name,
  data: Parameters<Requests[Name]>[0] | undefined,
  every?: number,
): Query<ReturnType<Requests[Name]>> {
  type Reply = ReturnType<Requests[Name]>;
  const [result, setResult] = useState<{ key: string; data?: Reply; error?: unknown } | undefined>();
  const key = data === undefined ? "" : name + JSON.stringify(data);
  const generation = useCell(epoch);
  const asking = useRef<AbortController | undefined>(undefined);

  const load = useCallback(() => {
    asking.current?.abort();
    if (data === undefined || state.value.name !== "open") return;
    const mine = new AbortController();
    asking.current = mine;
    request(name, data, { signal: mine.signal })
      .then(
        (reply) => !mine.signal.aborted && setResult({ key, data: reply }),
        (error: unknown) =>
          !mine.signal.aborted && setResult((last) => ({ ...(last?.key === key ? last : {}), key, error })),
      )
      .finally(() => {
        if (asking.current === mine) asking.current = undefined;
      });
  }, [key]);

  useEffect(() => {
    load();
    const timer = every === undefined ? 0 : setInterval(() => !document.hidden && asking.current === undefined && load(), every);
    return () => {
      clearInterval(timer);
      asking.current?.abort();
    };
  }, [load, generation, every]);

  const current = result?.key === key ? result : undefined;
  return {
    data: current?.data,
    error: current?.error,
    loading: data !== undefined && current === undefined,
    reload: load,
  };
}
