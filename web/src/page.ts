// What the browser says about the network and the page. Elsewhere nothing is heard.

/** Listens to events of the window (or worker) and the document; the function given back ends it. */
export function listen(handlers: Record<string, () => void>): () => void {
  const controller = new AbortController();
  for (const [name, run] of Object.entries(handlers)) {
    for (const target of [globalThis, globalThis.document] as (EventTarget | undefined)[]) {
      target?.addEventListener?.(name, run, controller);
    }
  }
  return () => controller.abort();
}
