// What the browser says about the network and the page. Elsewhere nothing is heard.

type Handlers = Record<string, () => unknown>;

/** Listens to events of the window (or the worker), and of the document; the function given back ends it. */
export function listen(ofWindow: Handlers, ofDocument: Handlers): () => void {
  const controller = new AbortController();
  add(globalThis, ofWindow, controller);
  add(globalThis.document, ofDocument, controller);
  return () => controller.abort();
}

function add(target: Partial<EventTarget> | undefined, handlers: Handlers, options: AbortController): void {
  for (const name in handlers) target?.addEventListener?.(name, handlers[name]!, options);
}
