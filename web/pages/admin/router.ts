// Where the page is: the address is the truth, so links, reload and the back button work.
import { Cell } from "./lib/cell.js";
import { hashOf, parseRoute, type Route, type ViewName } from "./lib/route.js";

export const route = new Cell<Route>(parseRoute(location.hash));

addEventListener("hashchange", (event) => {
  const next = parseRoute(location.hash);
  // A drawer that was opened here is closed by a step back; one that a link has opened, by changing the address.
  if (next.params["c"] !== undefined && parseRoute(new URL(event.oldURL).hash).params["c"] === undefined) {
    if (history.state === null) history.replaceState({ drawer: true }, "");
  }
  route.set(next);
});

export function go(view: ViewName, params: Record<string, string | undefined> = {}): void {
  const hash = hashOf(view, params);
  if (hash === location.hash) return;
  location.hash = hash;
}

/** Changes the address without a new step: what is typed into filters. */
export function replace(params: Record<string, string | undefined>): void {
  const { view } = route.value;
  const hash = hashOf(view, params);
  if (hash === location.hash) return;
  history.replaceState(history.state, "", hash);
  route.set(parseRoute(hash));
}

/** The address of this view with a connection in the drawer. */
export function connectionHash(id: string): string {
  const { view, params } = route.value;
  return hashOf(view, { ...params, c: id });
}

export function openConnection(id: string): void {
  const { view, params } = route.value;
  go(view, { ...params, c: id });
}

export function closeConnection(): void {
  const { params } = route.value;
  if (params["c"] === undefined) return;
  if ((history.state as { drawer?: boolean } | null)?.drawer === true) history.back();
  else replace({ ...params, c: undefined });
}
