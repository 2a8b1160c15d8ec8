// How the server is: the numbers of this second, and how they came to be.
/** @jsxImportSource preact */
import type { ComponentChildren, JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import type { Sample } from "../api.js";
import { kept } from "../../shared/dom.js";
import { useCell } from "../lib/cell.js";
import { binned, closeCodes, closesOf, recent } from "../lib/series.js";
import { hashOf } from "../lib/route.js";
import { hello, sampled, samples, serverNow } from "../link.js";
import { Chart, type Line } from "../parts/chart.js";
import { Ago, Badge, Choice, CodeText, Empty, Head, Problem, Skeleton, Who } from "../parts/ui.js";
import { useQuery } from "../query.js";
import { connectionHash } from "../router.js";
import { useTexts } from "../texts.js";

const RANGES = ["1", "5", "10"] as const;
type Range = (typeof RANGES)[number];
/** Of closes, in the order of their codes: the harmless ones come first, and are the quiet ones. */
const COLORS = ["c6", "c1", "c2", "c3", "c4", "c5"] as const;
/** Bars of the closes, whatever the range. */
const BARS = 30;
const REFRESH_MS = 5000;
const SHORT_LIST = 6;

export function Overview(): JSX.Element {
  const texts = useTexts();
  const { t, n, short, bytes, percent, span } = texts;
  const facts = useCell(hello);
  const count = useCell(sampled);
  const [range, setRange] = useState<Range>(() => RANGES.find((name) => name === kept.get("admin-range")) ?? "5");
  const length = Number(range) * 60_000;
  const shown = useMemo(() => recent(samples.toArray(), length), [count, length]);
  const last = samples.at(samples.length - 1);

  const perSecond = t("perSecond", { n: "" });

  const choose = (chosen: Range): void => {
    setRange(chosen);
    kept.set("admin-range", chosen);
  };

  return (
    <div class="view">
      <Head
        title={t("overview")}
        sub={facts && (
          <>
            <code>{facts.node}</code> · antiphon {facts.version} · {t("uptime")} {span(serverNow() - facts.started_at)}
            {facts.dev && <Badge tone="wait">{t("dev")}</Badge>}
          </>
        )}
      >
        <Choice label={t("range")} value={range} onChange={choose} testid="range"
          options={RANGES.map((name) => [name, t("minutes", { n: name })] as const)} />
      </Head>
      {last === undefined ? (
        <Empty text={t("noSamples")} icon="overview" />
      ) : (
        <>
          <dl class="tiles" data-testid="tiles">
            <Tile name={t("connections")} value={short(last.connections)} sub={n("nUsers", last.users)} id="connections" />
            <Tile name={t("messagesIn")} value={short(last.received)} unit={perSecond} id="received"
              sub={t("perSecond", { n: bytes(last.received_bytes) })} />
            <Tile name={t("messagesOut")} value={short(last.written)} unit={perSecond} id="written"
              sub={t("perSecond", { n: bytes(last.written_bytes) })} />
            <Tile name={t("queue")} value={short(last.waiting_messages)} sub={n("queueSub", last.waiting_connections)}
              id="waiting" />
            <Tile name={t("drops")} value={short(last.dropped)} unit={perSecond} sub={n("slowSub", last.slow)}
              id="dropped" tone={last.dropped + last.slow > 0 ? "bad" : ""} />
            <Tile name={t("memory")} value={bytes(last.memory_used)} sub={t("memoryOf", { limit: bytes(last.memory_limit) })}
              id="memory" share={last.memory_limit > 0 ? last.memory_used / last.memory_limit : 0} />
            <Tile name={t("cpu")} value={last.cpu === null ? "–" : percent(last.cpu)} id="cpu"
              sub={last.rss === null ? "" : t("cpuSub", { bytes: bytes(last.rss) })} />
          </dl>
          <Charts shown={shown} length={length} />
        </>
      )}
      <div class="pair">
        <Slowest />
        <LeftLately />
      </div>
    </div>
  );
}

function Tile({ name, value, unit = "", sub, id, tone = "", share }: {
  name: string; value: string; unit?: string; sub: string; id: string; tone?: string; share?: number;
}): JSX.Element {
  return (
    <div class={`card tile ${tone}`} data-testid={`tile-${id}`}>
      <dt>{name}</dt>
      <dd>
        <b>{value}{unit !== "" && <i>{unit}</i>}</b>{" "}
        <span class="soft">{sub}</span>
        {share !== undefined && <meter aria-label={name} min={0} max={1} high={0.8} value={Math.min(1, share)} />}
      </dd>
    </div>
  );
}

function Charts({ shown, length }: { shown: (Sample | { at: number })[]; length: number }): JSX.Element {
  const { t, short, bytes, percent } = useTexts();
  const codes = useMemo(() => closeCodes(shown, COLORS.length), [shown]);
  const bin = length / BARS / 1000;
  const bins = useMemo(() => binned(shown, bin), [shown, bin]);
  const named = codes.filter((code) => code !== "other");
  const closes: Line[] = codes.map((code, index) => ({
    label: code === "other" ? t("other") : code,
    color: COLORS[index] ?? "c1",
    read: (sample) => closesOf(sample, code, named),
  }));
  const common = { samples: shown, range: length };
  return (
    <div class="charts" data-testid="charts">
      <Chart {...common} title={t("chartConnections")} format={short} steps="whole" testid="chart-connections" lines={[
        { label: t("byConnection"), color: "c1", read: (sample) => sample.connections, fill: true },
        { label: t("users"), color: "c2", read: (sample) => sample.users },
      ]} />
      <Chart {...common} title={t("chartMessages")} format={short} steps="whole" testid="chart-messages" lines={[
        { label: t("in"), color: "c2", read: (sample) => sample.received },
        { label: t("out"), color: "c1", read: (sample) => sample.written, fill: true },
      ]} />
      <Chart {...common} title={t("chartBytes")} format={bytes} steps="binary" testid="chart-bytes" lines={[
        { label: t("in"), color: "c2", read: (sample) => sample.received_bytes },
        { label: t("out"), color: "c1", read: (sample) => sample.written_bytes, fill: true },
      ]} />
      <Chart {...common} title={t("chartQueue")} format={short} steps="whole" testid="chart-queue" lines={[
        { label: t("waitingMessages"), color: "c1", read: (sample) => sample.waiting_messages, fill: true },
        { label: t("byConnection"), color: "c2", read: (sample) => sample.waiting_connections },
      ]} />
      <Chart {...common} title={t("chartSlow")} format={short} steps="whole" testid="chart-slow" lines={[
        { label: t("dropped"), color: "c3", read: (sample) => sample.dropped, fill: true },
        { label: t("slow"), color: "c4", read: (sample) => sample.slow },
      ]} />
      <Chart {...common} title={t("chartCloses")} format={short} steps="whole" bars={bin} samples={bins} lines={closes}
        note={t("inSeconds", { n: bin })} testid="chart-closes" empty={closes.length === 0 ? t("noCloses") : undefined} />
      <Chart {...common} title={t("chartAccepts")} format={short} steps="whole" testid="chart-accepts" lines={[
        { label: t("accepted"), color: "c1", read: (sample) => sample.accepted, fill: true },
        { label: t("refused"), color: "c4", read: (sample) => sample.refused },
      ]} />
      <Chart {...common} title={t("chartMemory")} format={bytes} steps="binary" testid="chart-memory" lines={[
        { label: t("used"), color: "c1", read: (sample) => sample.memory_used, fill: true },
        { label: t("resident"), color: "c2", read: (sample) => sample.rss },
        { label: t("budget"), color: "c4", read: (sample) => sample.memory_limit, dash: true },
      ]} />
      <Chart {...common} title={t("chartCpu")} format={percent} testid="chart-cpu" lines={[
        { label: t("cpu"), color: "c1", read: (sample) => sample.cpu, fill: true },
      ]} />
    </div>
  );
}

function Panel({ title, more, children }: { title: string; more: string; children: ComponentChildren }): JSX.Element {
  const { t } = useTexts();
  return (
    <section class="card panel">
      <header>
        <h2>{title}</h2>
        <a href={more} aria-label={`${title}: ${t("seeAll")}`}>{t("seeAll")}</a>
      </header>
      {children}
    </section>
  );
}

function Slowest(): JSX.Element {
  const { t, bytes, n } = useTexts();
  const { data, error, loading, reload } = useQuery("admin/slow", {}, REFRESH_MS);
  const items = data?.items.slice(0, SHORT_LIST);
  return (
    <Panel title={t("slowTitle")} more={hashOf("connections", { show: "slow" })}>
      {items === undefined ? (
        loading ? <Skeleton /> : <Problem error={error} retry={reload} />
      ) : items.length === 0 ? (
        <Empty text={t("slowNone")} icon="check" />
      ) : (
        <ul class="lines">
          {items.map((item) => (
            <li key={item.id}>
              <a href={connectionHash(item.id)}><Who user={item.user} name={item.name} /></a>
              <span class="soft">{n("queueOf", item.waiting, { bytes: bytes(item.waiting_bytes) })}</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function LeftLately(): JSX.Element {
  const { t } = useTexts();
  const { data, error, loading, reload } = useQuery("admin/closed", { limit: SHORT_LIST }, REFRESH_MS);
  return (
    <Panel title={t("closedTitle")} more={hashOf("connections", { show: "closed" })}>
      {data === undefined ? (
        loading ? <Skeleton /> : <Problem error={error} retry={reload} />
      ) : data.items.length === 0 ? (
        <Empty text={t("closedNone")} icon="check" />
      ) : (
        <ul class="lines">
          {data.items.map(({ at, code, connection }) => (
            <li key={connection.id}>
              <a href={connectionHash(connection.id)}><Who user={connection.user} name={connection.name} /></a>
              <CodeText code={code} />
              <span class="soft"><Ago time={at} /></span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
