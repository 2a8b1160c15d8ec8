// What happens, as it happens: connections, tags, users, and what administrators did.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { ENTRY_TYPES, type Entry, type EntryType } from "../api.js";
import { entryMatches } from "../lib/filter.js";
import { usePhone } from "../parts/table.js";
import { Badge, Button, CodeText, Empty, Field, Head, Problem, Skeleton } from "../parts/ui.js";
import { Virtual } from "../parts/virtual.js";
import { connectionHash, replace } from "../router.js";
import { useLog } from "../stream.js";
import { useTexts } from "../texts.js";

const TONES: Record<EntryType, string> = {
  connected: "good",
  disconnected: "bad",
  joined: "plain",
  left: "plain",
  user_online: "good",
  user_offline: "plain",
  tag_occupied: "plain",
  tag_vacated: "plain",
  admin: "accent",
};

export function Log({ params }: { params: Readonly<Record<string, string>> }): JSX.Element {
  const { t, n } = useTexts();
  const phone = usePhone();
  const log = useLog();
  const text = params["text"] ?? "";
  const chosen = params["types"] ?? "";
  const types = useMemo(() => new Set(ENTRY_TYPES.filter((type) => chosen.split(",").includes(type))), [chosen]);
  const [paused, setPaused] = useState(false);
  const [scrolled, setScrolled] = useState(false);
  const held = paused || scrolled;
  const key = `${chosen} ${text}`;
  /** What came behind this entry is not shown while the list is held. */
  const latest = useRef(0);
  if (!held) latest.current = log.entries.at(log.entries.length - 1)?.seq ?? 0;

  const items: Entry[] = [];
  let fresh = 0;
  for (let index = log.entries.length - 1; index >= 0; index -= 1) {
    const entry = log.entries.at(index);
    if (entry === undefined || !entryMatches(entry, types, text)) continue;
    if (held && entry.seq > latest.current) fresh += 1;
    else items.push(entry);
  }
  const [reset, setReset] = useState(0);

  const toggle = (type: EntryType): void => {
    const next = ENTRY_TYPES.filter((name) => types.has(name) !== (name === type));
    replace({ ...params, types: next.join(",") });
  };
  const onward = (): void => {
    setPaused(false);
    setScrolled(false);
    setReset(reset + 1);
  };
  useEffect(() => setScrolled(false), [key]);

  return (
    <div class="view full">
      <Head title={t("logTitle")} sub={<span data-testid="log-count">{n("logKept", items.length)}</span>}>
        <Field label={t("filterText")} placeholder={t("filterText")} value={text} hidden search type="search"
          testid="filter-text" onInput={(value) => replace({ ...params, text: value })} />
        <Button icon={paused ? "play" : "pause"} pressed={paused} testid="pause"
          onClick={() => (paused ? onward() : setPaused(true))}>
          {t(paused ? "resume" : "pause")}
        </Button>
      </Head>
      <div class="chips" role="group" aria-label={t("types")}>
        <button type="button" class="chip" aria-pressed={types.size === 0} onClick={() => replace({ ...params, types: undefined })}>
          {t("everything")}
        </button>
        {ENTRY_TYPES.map((type) => (
          <button type="button" key={type} class="chip" aria-pressed={types.has(type)} onClick={() => toggle(type)}
            data-testid={`type-${type}`}>
            {t(`type_${type}`)}
          </button>
        ))}
      </div>
      <div class="card fill log">
        {held && fresh > 0 && (
          <button type="button" class="fresh" onClick={onward} data-testid="fresh">{n("fresh", fresh)}</button>
        )}
        {log.lost > 0 && <p class="soft note" role="status">{n("logLost", log.lost)}</p>}
        {log.loading ? (
          <Skeleton lines={8} />
        ) : log.error !== undefined && log.entries.length === 0 ? (
          <Problem error={log.error} retry={log.reload} />
        ) : items.length === 0 ? (
          <Empty text={t(log.entries.length === 0 ? "logEmpty" : "logNoMatch")} icon="log">
            {log.open && <Button onClick={log.older}>{t("older")}</Button>}
          </Empty>
        ) : (
          <Virtual total={items.length} row={phone ? 64 : 36} label={t("logTitle")} role="list" testid="log" reset={`${key}${reset}`}
            onWindow={(_, end, atTop) => {
              setScrolled(!atTop);
              if (end >= items.length && log.open) log.older();
            }}>
            {(first, end) => items.slice(first, end).map((entry) => <Line key={entry.seq} entry={entry} />)}
          </Virtual>
        )}
      </div>
    </div>
  );
}

function Line({ entry }: { entry: Entry }): JSX.Element {
  const { t, clock, date } = useTexts();
  const { at, type, connection, user, tag, address, code, reason, by, action, detail } = entry;
  return (
    <div role="listitem" class="entry" data-testid="log-entry" data-type={type}>
      <time dateTime={new Date(at).toISOString()} title={date(at)}>{clock(at)}</time>
      <Badge tone={TONES[type]}>{t(`type_${type}`)}</Badge>
      <span class="what">
        {action !== undefined && <b>{t(`action_${action}`)}</b>}
        {user !== undefined && <b>{user}</b>}
        {tag !== undefined && <code class="tag">{tag}</code>}
        {code !== undefined && <CodeText code={code} />}
        {by !== undefined && <span class="soft">{t(`by_${by}`)}</span>}
        {reason !== undefined && reason !== "" && <span>{reason}</span>}
        {detail !== undefined && <span>{detail}</span>}
        {address !== undefined && <code class="soft">{address}</code>}
      </span>
      {connection !== undefined && (
        <a class="soft" href={connectionHash(connection)} title={connection}>
          <span class="hidden">{t("connection")} </span>
          <code>{connection.slice(0, 8)}</code>
        </a>
      )}
    </div>
  );
}
