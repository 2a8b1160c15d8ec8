// @vitest-environment happy-dom
// The examples for React and Vue do what they say.

import { readFileSync } from "node:fs";
import { act, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createApp, defineComponent, h, nextTick, ref } from "vue";

import * as forReact from "../examples/react.js";
import * as forVue from "../examples/vue.js";
import { pass, realTime, Refusal, scene, type Scene, soon, virtualTime } from "./fake.js";

beforeEach(() => {
  virtualTime();
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
});
afterEach(realTime);

const events = ({ server }: Scene) => server.socket.events;

it.each(["react.tsx", "vue.ts"])("%s is no longer than 40 lines", (name) => {
  expect(readFileSync(`examples/${name}`, "utf8").trimEnd().split("\n").length).toBeLessThanOrEqual(40);
});

describe("React", () => {
  function Room({ tag }: { tag: string }) {
    const [, state] = forReact.useClient();
    const [texts, setTexts] = useState<string[]>([]);
    forReact.useEvent<string>("chat", (text) => setTexts([...texts, text]));
    const error = forReact.useTag(tag);
    return <p>{[state, ...texts, error && "refused"].filter(Boolean).join(" ")}</p>;
  }

  async function mount(made: Scene) {
    const place = document.createElement("div");
    const root = createRoot(place);
    const render = async (tag?: string) => {
      await act(async () => {
        root.render(
          <StrictMode>
            <forReact.Antiphon client={made.client}>{tag && <Room tag={tag} />}</forReact.Antiphon>
          </StrictMode>,
        );
        await soon();
      });
    };
    return { place, root, render };
  }

  it("shows the state and what comes, and holds a tag while it is there", async () => {
    const made = scene();
    const { place, root, render } = await mount(made);
    await render("tea");
    expect([place.textContent, made.client.tags, made.server.mostAlive]).toEqual(["open", ["tea"], 1]);
    await act(async () => {
      made.server.socket.push("chat", "one");
    });
    await act(async () => {
      made.server.socket.push("chat", "two");
    });
    expect(place.textContent).toBe("open one two");
    await render("coffee");
    expect(made.client.tags).toEqual(["coffee"]);
    await render();
    expect(made.client.tags).toEqual([]);
    await act(async () => root.unmount());
    expect([made.client.state, vi.getTimerCount()]).toEqual(["closed", 0]);
  });

  it("shows that a tag is refused", async () => {
    const made = scene({}, (server) => (server.answers["$subscribe"] = () => new Refusal(103)));
    const { place, root, render } = await mount(made);
    await render("tea");
    expect(place.textContent).toBe("open refused");
    await act(async () => root.unmount());
  });

  it("says where its client should come from", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const root = createRoot(document.createElement("div"));
    await expect(act(async () => root.render(<Room tag="tea" />))).rejects.toThrow("<Antiphon>");
  });
});

describe("Vue", () => {
  const Room = defineComponent({
    props: { tag: { type: String, required: true } },
    setup({ tag }) {
      const { state } = forVue.useClient();
      const texts = ref<string[]>([]);
      forVue.useEvent<string>("chat", (text) => texts.value.push(text));
      const error = forVue.useTag(tag);
      return () => h("p", [state.value, ...texts.value, error.value && "refused"].filter(Boolean).join(" "));
    },
  });

  async function mount(made: Scene) {
    const place = document.createElement("div");
    const tag = ref<string | undefined>("tea");
    const app = createApp(() => tag.value && h(Room, { tag: tag.value, key: tag.value }));
    app.use(forVue.antiphon(made.client)).mount(place);
    await soon();
    await nextTick();
    return { app, place, tag };
  }

  it("shows the state and what comes, and holds a tag while it is there", async () => {
    const made = scene();
    const { app, place, tag } = await mount(made);
    expect([place.textContent, made.client.tags]).toEqual(["open", ["tea"]]);
    made.server.socket.push("chat", "one");
    made.server.socket.push("chat", "two");
    await nextTick();
    expect(place.textContent).toBe("open one two");
    tag.value = "coffee";
    await nextTick();
    expect(made.client.tags).toEqual(["coffee"]);
    expect(events(made)).toEqual(["$connect", "$subscribe", "$unsubscribe", "$subscribe"]);
    tag.value = undefined;
    await nextTick();
    expect(made.client.tags).toEqual([]);
    app.unmount();
    // Vue looks for its tools, once.
    await pass(3000);
    expect([made.client.state, vi.getTimerCount()]).toEqual(["closed", 0]);
  });

  it("shows that a tag is refused", async () => {
    const made = scene({}, (server) => (server.answers["$subscribe"] = () => new Refusal(103)));
    const { app, place } = await mount(made);
    expect(place.textContent).toBe("open refused");
    app.unmount();
  });

  it("says where its client should come from", () => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    const app = createApp(() => h(Room, { tag: "tea" }));
    expect(() => app.mount(document.createElement("div"))).toThrow("app.use(antiphon(client))");
  });
});
