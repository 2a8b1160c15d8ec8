// Composables for Vue: one client for the application; components hear events and hold tags while they are there.

import { type Client, type Handler } from "antiphon";
import { type App, inject, type InjectionKey, onScopeDispose, type Ref, ref, shallowRef } from "vue";

const key: InjectionKey<Client> = Symbol("antiphon");

/** A plugin, `app.use(antiphon(client))`: connects until the application is unmounted. */
export const antiphon = (client: Client) => (app: App) => {
  app.provide(key, client);
  client.connect();
  app.onUnmount(() => client.disconnect());
};

/** The client of the application, and its state. */
export function useClient() {
  const client = inject(key);
  if (!client) throw new Error("app.use(antiphon(client)) is missing");
  const state = ref(client.state);
  onScopeDispose(client.on("$state", (change) => (state.value = change.state)));
  return { client, state };
}

/** Hears an event while the component is there. */
export function useEvent<Data>(event: string, handler: Handler<Data>): void {
  onScopeDispose(useClient().client.on(event, handler));
}

/** Holds a tag while the component is there; gives back the error if the server refuses it. */
export function useTag(tag: string): Ref<unknown> {
  const { client } = useClient();
  const error = shallowRef<unknown>();
  client.join(tag).catch((reason) => (error.value = reason));
  onScopeDispose(() => void client.leave(tag).catch(() => {}));
  return error;
}
