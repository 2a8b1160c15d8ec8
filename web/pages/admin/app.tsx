// The frame of the page: where one can go, how the connection is, and the view of the address.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { useCell } from "./lib/cell.js";
import { useTick } from "./lib/clock.js";
import { hashOf, type ViewName, VIEWS } from "./lib/route.js";
import { access, connectNow, heard, hello, logout, sampled, samples, state } from "./link.js";
import { Icon, Mark } from "./parts/icons.js";
import { KickDialog } from "./parts/kick.js";
import { Switches } from "./parts/switches.js";
import { Button, Dialog, Skeleton, Toasts } from "./parts/ui.js";
import { go, route } from "./router.js";
import { useTexts } from "./texts.js";
import { Config } from "./views/config.js";
import { Connections } from "./views/connections.js";
import { Detail } from "./views/detail.js";
import { Log } from "./views/log.js";
import { Login, type Offer } from "./views/login.js";
import { Nodes } from "./views/nodes.js";
import { Overview } from "./views/overview.js";
import { Send } from "./views/send.js";
import { Tags } from "./views/tags.js";

export function App({ offered }: { offered: Offer }): JSX.Element {
  const { language, t } = useTexts();
  const how = useCell(access);
  const { view } = useCell(route);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = how === "in" ? `${t(view)} · antiphon` : `${t("login")} · antiphon`;
  }, [language, view, how]);
  if (how === "asking") return <main class="login"><Skeleton /></main>;
  return how === "in" ? <Shell /> : <Login offered={offered} />;
}

function Shell(): JSX.Element {
  const { view, params } = useCell(route);
  const link = useCell(state);
  const [help, setHelp] = useState(false);
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useShortcuts(() => setHelp(true));

  // Who has followed a link hears and sees the new view from its title on.
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    main.current?.scrollTo(0, 0);
    main.current?.querySelector("h1")?.focus({ preventScroll: true });
  }, [view]);

  const id = params["c"];
  return (
    <div class="shell">
      <Side view={view} onHelp={() => setHelp(true)} />
      <main ref={main} data-stale={link.name !== "open" || undefined}>
        <Banner />
        <View key={view} view={view} params={params} />
      </main>
      {id !== undefined && <Detail key={id} id={id} />}
      <KickDialog />
      {help && <Help onClose={() => setHelp(false)} />}
      {id === undefined && <Toasts />}
    </div>
  );
}

function View({ view, params }: { view: ViewName; params: Readonly<Record<string, string>> }): JSX.Element {
  switch (view) {
    case "overview":
      return <Overview />;
    case "connections":
      return <Connections params={params} />;
    case "tags":
      return <Tags params={params} />;
    case "send":
      return <Send params={params} />;
    case "log":
      return <Log params={params} />;
    case "config":
      return <Config params={params} />;
    case "nodes":
      return <Nodes />;
  }
}

function Side({ view, onHelp }: { view: ViewName; onHelp: () => void }): JSX.Element {
  const { t, short } = useTexts();
  useCell(sampled);
  const last = samples.at(samples.length - 1);
  const counts: Partial<Record<ViewName, number | undefined>> = { connections: last?.connections, tags: last?.tags };
  return (
    <>
      <header class="top">
        <a class="skip" href={location.hash} onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>("main h1")?.focus();
        }}>
          {t("skip")}
        </a>
        <a class="home" href={hashOf("overview")}>
          <Mark size={28} />
          <span><b>antiphon</b> <span class="soft">{t("admin")}</span></span>
        </a>
        <LinkState />
        <div class="menu">
          <Switches />
          <Button icon="keyboard" kind="bare" label={t("shortcuts")} onClick={onHelp} testid="shortcuts" />
          <Button icon="logout" kind="bare" label={t("logout")} onClick={() => void logout()} testid="logout" />
        </div>
      </header>
      <nav aria-label={t("pages")}>
        {VIEWS.map((name) => (
          <a key={name} href={hashOf(name)} aria-current={name === view ? "page" : undefined} data-testid={`nav-${name}`}>
            <Icon name={name} size={18} />
            <span>{t(name)}</span>
            {counts[name] !== undefined && <small>{short(counts[name] ?? 0)}</small>}
          </a>
        ))}
      </nav>
    </>
  );
}

function LinkState(): JSX.Element {
  const { t } = useTexts();
  const link = useCell(state);
  const now = useTick(link.name === "waiting");
  const seconds = link.name === "waiting" ? Math.max(0, Math.ceil((link.until - now) / 1000)) : 0;
  return (
    <span class="state" data-state={link.name} data-testid="state">
      {link.name === "waiting" ? t("waiting", { seconds }) : t(link.name)}
    </span>
  );
}

/** Says that what is seen is old, and lets try at once. */
function Banner(): JSX.Element {
  const { t, clock } = useTexts();
  const link = useCell(state);
  const last = useCell(heard);
  // Before the first answer there is nothing that could be old.
  const away = useCell(hello) === undefined ? link.name === "waiting" || link.name === "closed" : link.name !== "open";
  return (
    <div role="status">
      {away && (
        <p class="banner" data-testid="banner">
          <Icon name="alert" />
          <span>
            {t("offline")} {last > 0 && t("stale", { time: clock(last) })}
          </span>
          <Button small onClick={connectNow} testid="connect-now">{t("now")}</Button>
        </p>
      )}
    </div>
  );
}

const KEYS: Record<string, ViewName> = { o: "overview", c: "connections", t: "tags", s: "send", l: "log", k: "config", n: "nodes" };

/** `g` and a letter go to a view, `/` to the filter, `?` shows all of them. */
function useShortcuts(onHelp: () => void): void {
  useEffect(() => {
    let going = 0;
    const press = (event: KeyboardEvent): void => {
      const target = event.target as Element | null;
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (target?.closest("input, textarea, select, dialog[open]") || document.querySelector("dialog[open]")) return;
      const view = KEYS[event.key];
      if (event.key === "/") {
        const field = document.querySelector<HTMLInputElement>("main [data-search]");
        if (field === null) return;
        event.preventDefault();
        field.focus();
        field.select();
      } else if (event.key === "?") {
        onHelp();
      } else if (event.key === "g") {
        going = Date.now();
      } else if (view !== undefined && Date.now() - going < 1500) {
        going = 0;
        go(view);
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function Help({ onClose }: { onClose: () => void }): JSX.Element {
  const { t } = useTexts();
  const rows: [string[], string][] = [
    ...Object.entries(KEYS).map(([key, view]): [string[], string] => [["g", key], t("keyGo", { view: t(view) })]),
    [["/"], t("keyFilter")],
    [["Ctrl", "Enter"], t("keySend")],
    [["Esc"], t("keyClose")],
    [["?"], t("keyHelp")],
  ];
  return (
    <Dialog title={t("shortcuts")} onClose={onClose} testid="help">
      <dl class="keys">
        {rows.map(([keys, text]) => (
          <div key={text}>
            <dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
