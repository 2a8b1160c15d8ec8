// Hooks for React: one client for the tree; components hear events and hold tags while they are there.

import { type Client, type Handler, type State } from "antiphon";
import { createContext, type ReactNode, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";

const Context = createContext<Client | undefined>(undefined);

/** Connects while it is mounted. */
export function Antiphon({ client, children }: { client: Client; children?: ReactNode }) {
  useEffect(() => {
    client.connect();
    return () => client.disconnect();
  }, [client]);
  return <Context value={client}>{children}</Context>;
}

/** The client of the tree, and its state. */
export function useClient(): [client: Client, state: State] {
  const client = useContext(Context);
  if (!client) throw new Error("useClient() is used outside of <Antiphon>");
  const [subscribe] = useState(() => (changed: () => void) => client.on("$state", changed));
  return [client, useSyncExternalStore(subscribe, () => client.state)];
}

/** Hears an event while the component is mounted; the handler may be another one in each render. */
export function useEvent<Data>(event: string, handler: Handler<Data>) {
  const [client] = useClient();
  const latest = useRef(handler);
  useEffect(() => void (latest.current = handler));
  useEffect(() => client.on(event, (data, message) => latest.current(data, message)), [client, event]);
}

/** Holds a tag while the component is mounted; gives back the error if the server refuses it. */
export function useTag(tag: string): unknown {
  const [client] = useClient();
  const [error, setError] = useState<unknown>();
  useEffect(() => (client.join(tag).catch(setError), () => void client.leave(tag).catch(() => {})), [client, tag]);
  return error;
}
