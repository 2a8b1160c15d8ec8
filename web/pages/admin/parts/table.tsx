// Rows of connections: who, from where, with what, since when; and the means to end them.
/** @jsxImportSource preact */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Closed, Connection } from "../api.js";
import { agentOf } from "../lib/agent.js";
import { connectionHash, openConnection } from "../router.js";
import { type Key, useTexts } from "../texts.js";
import { askKick } from "./kick.js";
import { Ago, Badge, Button, CodeText, Id, useOnline, Who } from "./ui.js";
import { Virtual } from "./virtual.js";

const PHONE = matchMedia("(max-width: 760px)");

export function usePhone(): boolean {
  const [phone, setPhone] = useState(PHONE.matches);
  useEffect(() => {
    const change = (): void => setPhone(PHONE.matches);
    PHONE.addEventListener("change", change);
    return () => PHONE.removeEventListener("change", change);
  }, []);
  return phone;
}

const COLUMNS: readonly (readonly [string, Key])[] = [
  ["who", "user"],
  ["session", "session"],
  ["app", "app"],
  ["address", "address"],
  ["agent", "client"],
  ["since", "connectedAt"],
  ["active", "lastActive"],
  ["act", "actions"],
];

const CLOSED_COLUMNS: readonly (readonly [string, Key])[] = [
  ["who", "user"],
  ["session", "session"],
  ["app", "app"],
  ["address", "address"],
  ["agent", "client"],
  ["since", "closedAt"],
  ["active", "code"],
];

export interface Sort {
  newest: boolean;
  toggle: () => void;
}

function HeadRow({ columns, sort }: { columns: typeof COLUMNS; sort?: Sort | undefined }): JSX.Element {
  const { t } = useTexts();
  return (
    <div class="head-row" role="rowgroup">
      <div class="row" role="row" aria-rowindex={1}>
        {columns.map(([name, text]) => {
          const sortable = name === "since" && sort !== undefined;
          return (
            <span key={name} role="columnheader" class={name}
              aria-sort={sortable ? (sort.newest ? "descending" : "ascending") : undefined}>
              {sortable ? (
                <button type="button" onClick={sort.toggle} data-testid="sort">
                  {t(text)} <span aria-hidden="true">{sort.newest ? "↓" : "↑"}</span>
                </button>
              ) : (
                <span class={name === "act" ? "hidden" : ""}>{t(text)}</span>
              )}
            </span>
          );
        })}
      </div>
    </div>
  );
}

interface TableProps {
  total: number;
  label: string;
  row: (index: number) => Connection | undefined;
  onWindow?: (first: number, end: number) => void;
  reset?: unknown;
  sort?: Sort;
}

export function ConnectionTable({ total, label, row, onWindow, reset, sort }: TableProps): JSX.Element {
  const phone = usePhone();
  return (
    <Virtual total={total} row={phone ? 92 : 56} label={label} role="table" reset={reset} testid="connections"
      {...(onWindow ? { onWindow } : {})} head={<HeadRow columns={COLUMNS} sort={sort} />}>
      {(first, end) =>
        Array.from({ length: end - first }, (_, offset) => {
          const connection = row(first + offset);
          const index = first + offset;
          return connection === undefined
            ? <Ghost key={slot(index)} index={index} />
            : <ConnectionRow key={slot(index)} connection={connection} index={index} />;
        })}
    </Virtual>
  );
}

export function ClosedTable({ items, label }: { items: readonly Closed[]; label: string }): JSX.Element {
  const phone = usePhone();
  return (
    <Virtual total={items.length} row={phone ? 92 : 56} label={label} role="table" testid="closed"
      head={<HeadRow columns={CLOSED_COLUMNS} />}>
      {(first, end) =>
        items.slice(first, end).map((closed, offset) => (
          <Row key={slot(first + offset)} connection={closed.connection} index={first + offset}
            since={<Ago time={closed.at} />} active={<CodeText code={closed.code} />} />
        ))}
    </Virtual>
  );
}

/** Elements are used again for the rows that come into view: making new ones costs most of a scroll. */
function slot(index: number): number {
  return index % 128;
}

/** A row whose answer is still on its way. */
function Ghost({ index }: { index: number }): JSX.Element {
  return (
    <div class="row ghost" role="row" aria-rowindex={index + 2}>
      {COLUMNS.map(([name]) => <span key={name} role="cell" class={name}><i /></span>)}
    </div>
  );
}

function ConnectionRow({ connection, index }: { connection: Connection; index: number }): JSX.Element {
  const { t, bytes, date } = useTexts();
  const online = useOnline();
  const { id, user, name, session, connected_at, last_active, waiting, waiting_bytes } = connection;
  return (
    <Row
      connection={connection}
      index={index}
      since={
        <>
          <span>{date(connected_at)}</span>
          <small><Ago time={connected_at} /></small>
        </>
      }
      active={
        <>
          <Ago time={last_active} />
          {waiting > 0 && <small class="waits" title={t("queue")}>{bytes(waiting_bytes)}</small>}
        </>
      }
      act={
        <Button icon="off" kind="bare" label={`${t("forceOffline")}: ${name ?? user ?? id}`} title={t("forceOffline")}
          disabled={!online} testid="kick"
          onClick={(event) => {
            event.stopPropagation();
            askKick({ id, user, name, session });
          }} />
      }
    />
  );
}

function Row({ connection, index, since, active, act }: {
  connection: Connection; index: number; since: ComponentChildren; active: ComponentChildren; act?: ComponentChildren;
}): JSX.Element {
  const { t } = useTexts();
  const { id, user, name, session, app, platform, address, user_agent, wire, traced } = connection;
  const { browser, system } = agentOf(user_agent);
  return (
    <div class={act === undefined ? "row gone" : "row"} role="row" aria-rowindex={index + 2} data-testid="connection-row" data-id={id}
      onClick={(event) => {
        const target = event.target as Element;
        if (target.closest("a, button") === null && getSelection()?.isCollapsed !== false) openConnection(id);
      }}>
      <span role="cell" class="who">
        <a href={connectionHash(id)}><Who user={user} name={name} /></a>
        {traced && <Badge tone="accent">{t("trace")}</Badge>}
      </span>
      <span role="cell" class="session">
        <Id id={session ?? id} what={t(session === undefined ? "connection" : "session")} />
      </span>
      <span role="cell" class="app">
        <span>{app ?? "–"}</span>
        <small>{[platform, wire].filter(Boolean).join(" · ")}</small>
      </span>
      <span role="cell" class="address"><code>{address ?? "–"}</code></span>
      <span role="cell" class="agent" title={user_agent}>
        <span>{browser || user_agent?.slice(0, 40) || "–"}</span>
        <small>{system}</small>
      </span>
      <span role="cell" class="since">{since}</span>
      <span role="cell" class="active">{active}</span>
      {act !== undefined && <span role="cell" class="act">{act}</span>}
    </div>
  );
}
