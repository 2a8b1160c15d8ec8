// Users online: every connection, who they are, which read too slowly, who has left.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { User } from "../api.js";
import { filterOf, inputOf, isShortcut, rangeOf, SHORTCUTS, TEXT_FILTERS } from "../lib/filter.js";
import { hashOf } from "../lib/route.js";
import { MAX_ROWS } from "../lib/window.js";
import { serverNow } from "../link.js";
import { useChain, useRows } from "../pages.js";
import { askKick, useReloadAfterKick } from "../parts/kick.js";
import { ClosedTable, ConnectionTable } from "../parts/table.js";
import { Button, Choice, Empty, Field, Head, Problem, Select, Skeleton, useOnline } from "../parts/ui.js";
import { Virtual } from "../parts/virtual.js";
import { useQuery } from "../query.js";
import { go, replace } from "../router.js";
import { useTexts } from "../texts.js";

type Params = Readonly<Record<string, string>>;

const SHOWS = ["connections", "users", "slow", "closed"] as const;
type Show = (typeof SHOWS)[number];
const REFRESH_MS = 5000;
const TYPING_MS = 250;
const CLOSED_LIMIT = 500;

export function Connections({ params }: { params: Params }): JSX.Element {
  const { t } = useTexts();
  const show = SHOWS.find((name) => name === params["show"]) ?? "connections";
  const names = { connections: "byConnection", users: "byUser", slow: "bySlow", closed: "byClosed" } as const;
  // Another list is another view: who has chosen it by keyboard goes on from there.
  const before = useRef(show);
  useEffect(() => {
    if (before.current !== show && document.activeElement === document.body) {
      document.querySelector<HTMLInputElement>("[data-testid=show] :checked")?.focus();
    }
    before.current = show;
  }, [show]);
  const choice = (
    <Choice<Show> label={t("show")} value={show} testid="show"
      options={SHOWS.map((name) => [name, t(names[name])] as const)}
      onChange={(chosen) => go("connections", chosen === "connections" ? {} : { show: chosen })} />
  );
  switch (show) {
    case "connections":
      return <Online params={params} choice={choice} />;
    case "users":
      return <UsersOnline params={params} choice={choice} />;
    case "slow":
      return <Slow choice={choice} />;
    case "closed":
      return <LeftLately choice={choice} />;
  }
}

function Online({ params, choice }: { params: Params; choice: JSX.Element }): JSX.Element {
  const { t, n, clock, number } = useTexts();
  const [auto, setAuto] = useState(true);
  const newest = params["sort"] === "newest";
  const key = JSON.stringify([TEXT_FILTERS.map((name) => params[name]), params["range"], params["since"], params["until"], newest]);
  const filtered = Object.keys(filterOf(params, 0)).length > 0;
  const rows = useRows(key, () => ({ filter: filterOf(params, serverNow()), newest }), auto ? REFRESH_MS : undefined);
  useReloadAfterKick(rows.reload);
  const { total } = rows;
  return (
    <div class="view full">
      <Head title={t("onlineTitle")}
        sub={total !== undefined && (
          <span role="status" data-testid="total">
            {n(filtered ? "matching" : "shownOf", total)} · {t("updated", { time: clock(rows.at) })}
          </span>
        )}>
        {choice}
        <Refresh auto={auto} setAuto={setAuto} reload={rows.reload} />
      </Head>
      <Filters params={params} />
      <div class="card fill">
        {total === undefined ? (
          rows.error === undefined ? <Skeleton lines={8} /> : <Problem error={rows.error} retry={rows.reload} />
        ) : total === 0 ? (
          <Empty text={t(filtered ? "listNoMatch" : "listEmpty")} icon="connections">
            {filtered && <Button onClick={() => replace({})}>{t("clear")}</Button>}
          </Empty>
        ) : (
          <ConnectionTable total={total} label={t("onlineTitle")} row={rows.row} onWindow={rows.look} reset={key}
            sort={{ newest, toggle: () => replace({ ...params, sort: newest ? undefined : "newest" }) }} />
        )}
      </div>
      {total !== undefined && total > MAX_ROWS && <p class="soft note">{t("listCut", { n: number(MAX_ROWS) })}</p>}
    </div>
  );
}

export function Refresh({ auto, setAuto, reload }: {
  auto: boolean; setAuto: (on: boolean) => void; reload: () => void;
}): JSX.Element {
  const { t } = useTexts();
  const online = useOnline();
  return (
    <span class="joined">
      <Button icon="refresh" label={t("refresh")} onClick={reload} disabled={!online} testid="refresh" />
      <Button pressed={auto} onClick={() => setAuto(!auto)} title={t("autoTitle")} testid="auto">{t("auto")}</Button>
    </span>
  );
}

function Filters({ params }: { params: Params }): JSX.Element {
  const { t } = useTexts();
  const [draft, setDraft] = useState<Record<string, string>>({ ...params });
  const [open, setOpen] = useState(false);
  const sent = useRef(JSON.stringify(params));
  const timer = useRef(0);
  useEffect(() => {
    const now = JSON.stringify(params);
    if (now === sent.current) return;
    sent.current = now;
    setDraft({ ...params });
  }, [params]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const change = (changed: Record<string, string>, wait = 0): void => {
    const next = { ...draft, ...changed };
    setDraft(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      sent.current = JSON.stringify(Object.fromEntries(Object.entries(next).filter(([, value]) => value !== "")));
      replace(next);
    }, wait) as unknown as number;
  };
  const custom = draft["since"] !== undefined || draft["until"] !== undefined;
  const range = isShortcut(draft["range"]) ? draft["range"] : custom ? "custom" : "any";
  const used = TEXT_FILTERS.filter((name) => draft[name]).length + (range === "any" ? 0 : 1);
  const field = (name: (typeof TEXT_FILTERS)[number], search = false): JSX.Element => (
    <Field key={name} label={t(name)} value={draft[name] ?? ""} search={search} testid={`filter-${name}`} type="search"
      onInput={(value) => change({ [name]: value }, TYPING_MS)} />
  );
  const setRange = (chosen: string): void => {
    if (chosen === "custom") {
      const { since } = rangeOf("1h", serverNow());
      change({ range: "", since: inputOf(since), until: "" });
    } else {
      const { since: _since, until: _until, ...rest } = draft;
      setDraft(rest);
      const next = { ...rest, range: chosen === "any" ? "" : chosen };
      setDraft(next);
      sent.current = JSON.stringify(next);
      replace(next);
    }
  };
  return (
    <form class={`filters${open ? " open" : ""}`} role="search" aria-label={t("filters")} onSubmit={(event) => event.preventDefault()}>
      {field("name", true)}
      <button type="button" class="button plain only-phone" aria-expanded={open} onClick={() => setOpen(!open)}
        data-testid="filters">
        {t("filters")}{used > 0 && <b class="number">{used}</b>}
      </button>
      <div class="rest">
        {field("user")}
        {field("address")}
        {field("app")}
        {field("platform")}
        {field("tag")}
        <Select label={t("time")} value={range} onChange={setRange} testid="filter-range"
          options={[["any", t("anyTime")], ...SHORTCUTS.map((name) => [name, t(name)] as const), ["custom", t("custom")]]} />
        {range === "custom" && (
          <>
            <Field label={t("since")} type="datetime-local" value={draft["since"] ?? ""} testid="filter-since"
              onInput={(value) => change({ since: value, range: "" }, TYPING_MS)} />
            <Field label={t("until")} type="datetime-local" value={draft["until"] ?? ""} testid="filter-until"
              onInput={(value) => change({ until: value, range: "" }, TYPING_MS)} />
          </>
        )}
        {used > 0 && (
          <Button kind="bare" icon="close" testid="filter-clear"
            onClick={() => {
              clearTimeout(timer.current);
              replace({ sort: params["sort"], c: params["c"] });
            }}>
            {t("clear")}
          </Button>
        )}
      </div>
    </form>
  );
}

function UsersOnline({ params, choice }: { params: Params; choice: JSX.Element }): JSX.Element {
  const { t, n } = useTexts();
  const online = useOnline();
  const [auto, setAuto] = useState(true);
  const prefix = params["prefix"] ?? "";
  const list = useChain("admin/users", prefix === "" ? {} : { prefix }, (item: User) => item.user, auto ? REFRESH_MS : undefined);
  useReloadAfterKick(list.reload);
  return (
    <div class="view full">
      <Head title={t("onlineTitle")} sub={list.total !== undefined && n("nUsers", list.total)}>
        {choice}
        <Refresh auto={auto} setAuto={setAuto} reload={list.reload} />
      </Head>
      <div class="filters">
        <Field label={t("prefix")} value={prefix} search testid="filter-prefix" type="search"
          onInput={(value) => replace({ ...params, prefix: value })} />
      </div>
      <div class="card fill">
        {list.loading ? (
          <Skeleton lines={8} />
        ) : list.error !== undefined && list.items.length === 0 ? (
          <Problem error={list.error} retry={list.reload} />
        ) : list.items.length === 0 ? (
          <Empty text={t(prefix === "" ? "usersEmpty" : "usersNoMatch")} icon="connections" />
        ) : (
          <Virtual total={list.items.length} row={48} label={t("byUser")} role="list" testid="users" reset={prefix}
            onWindow={(_, end) => end >= list.items.length && list.open && list.more()}>
            {(first, end) =>
              list.items.slice(first, end).map(({ user, name, connections }) => (
                <div class="item" role="listitem" key={user} data-testid="user-row" data-user={user}>
                  <a href={hashOf("connections", { user })}>
                    <b>{name ?? user}</b>
                    {name !== undefined && name !== user && <small>{user}</small>}
                  </a>
                  <span class="soft">{n("nConnections", connections)}</span>
                  <Button icon="send" kind="bare" label={`${t("sendTo")}: ${user}`} title={t("sendTo")}
                    onClick={() => go("send", { to: "user", target: user })} />
                  <Button icon="off" kind="bare" label={`${t("forceOffline")}: ${user}`} title={t("forceOffline")}
                    disabled={!online} testid="kick" onClick={() => askKick({ user, name })} />
                </div>
              ))}
          </Virtual>
        )}
      </div>
    </div>
  );
}

function Slow({ choice }: { choice: JSX.Element }): JSX.Element {
  const { t, n } = useTexts();
  const [auto, setAuto] = useState(true);
  const { data, error, loading, reload } = useQuery("admin/slow", {}, auto ? REFRESH_MS : undefined);
  useReloadAfterKick(reload);
  const items = data?.items ?? [];
  return (
    <div class="view full">
      <Head title={t("onlineTitle")} sub={data && n("slowSub", items.length)}>
        {choice}
        <Refresh auto={auto} setAuto={setAuto} reload={reload} />
      </Head>
      <div class="card fill">
        {loading ? <Skeleton lines={8} /> : data === undefined ? <Problem error={error} retry={reload} />
          : items.length === 0 ? <Empty text={t("slowNone")} icon="check" />
          : <ConnectionTable total={items.length} label={t("bySlow")} row={(index) => items[index]} />}
      </div>
    </div>
  );
}

function LeftLately({ choice }: { choice: JSX.Element }): JSX.Element {
  const { t } = useTexts();
  const [auto, setAuto] = useState(true);
  const { data, error, loading, reload } = useQuery("admin/closed", { limit: CLOSED_LIMIT }, auto ? REFRESH_MS : undefined);
  return (
    <div class="view full">
      <Head title={t("onlineTitle")} sub={t("byClosed")}>
        {choice}
        <Refresh auto={auto} setAuto={setAuto} reload={reload} />
      </Head>
      <div class="card fill">
        {loading ? <Skeleton lines={8} /> : data === undefined ? <Problem error={error} retry={reload} />
          : data.items.length === 0 ? <Empty text={t("closedNone")} icon="check" />
          : <ClosedTable items={data.items} label={t("byClosed")} />}
      </div>
    </div>
  );
}
