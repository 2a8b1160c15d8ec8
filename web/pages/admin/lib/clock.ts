// One clock for everything that ticks: relative times, countdowns.
import { useEffect, useState } from "preact/hooks";

const watchers = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** Draws the part again each second. */
export function useTick(on = true): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!on) return;
    const watcher = () => setNow(Date.now());
    watcher();
    watchers.add(watcher);
    timer ??= setInterval(() => {
      if (!document.hidden) for (const tick of [...watchers]) tick();
    }, 1000);
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0) {
        clearInterval(timer);
        timer = undefined;
      }
    };
  }, [on]);
  return now;
}
