// One connection, in a drawer over any view: who it is, what waits for it, why it ended, what it says.
/** @jsxImportSource preact */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Closed, Connection, Frame } from "../api.js";
import { agentOf } from "../lib/agent.js";
import { useCell } from "../lib/cell.js";
import { frameMatches } from "../lib/filter.js";
import { pretty } from "../lib/json.js";
import { hashOf } from "../lib/route.js";
import { hello, request, serverNow } from "../link.js";
import { Icon } from "../parts/icons.js";
import { askKick, useReloadAfterKick } from "../parts/kick.js";
import { Ago, Badge, Button, Choice, CodeText, Copy, Dialog, Empty, Field, Problem, reasonOf, Skeleton, toast, useOnline } from "../parts/ui.js";
import { useQuery } from "../query.js";
import { closeConnection, go } from "../router.js";
import { useFrames } from "../stream.js";
import { useTexts } from "../texts.js";

const REFRESH_MS = 3000;
/** Each answer brings the frames, too, and those that are traced come by themselves. */
const TRACED_REFRESH_MS = 10_000;
/** A first line longer than this is cut until the frame is opened. */
const PREVIEW = 160;
const NO_FRAMES: readonly Frame[] = [];

export function Detail({ id }: { id: string }): JSX.Element {
  const { t } = useTexts();
  const [traced, setTraced] = useState(false);
  const query = useQuery("admin/connection", { id }, traced ? TRACED_REFRESH_MS : REFRESH_MS);
  useReloadAfterKick(query.reload);
  const { data } = query;
  useEffect(() => setTraced(data?.connection?.traced ?? false), [data]);
  const connection = data?.connection ?? data?.closed?.connection;
  const title = connection === undefined ? t("connection") : (connection.name ?? connection.user ?? t("anonymous"));
  return (
    <Dialog title={title} onClose={closeConnection} kind="side" testid="detail">
      {data === undefined ? (
        query.error === undefined ? <Skeleton lines={6} /> : <Problem error={query.error} retry={query.reload} />
      ) : connection === undefined ? (
        <Empty text={t("notFound")} icon="search"><p class="soft">{t("notFoundHint")}</p></Empty>
      ) : (
        <Content connection={connection} closed={data.connection === null ? data.closed : null} frames={data.frames}
          reload={query.reload} />
      )}
    </Dialog>
  );
}

function Content({ connection, closed, frames, reload }: {
  connection: Connection; closed: Closed | null; frames: readonly Frame[]; reload: () => void;
}): JSX.Element {
  const { t, n, date, bytes, span } = useTexts();
  const online = useOnline();
  const { id, user, name, session, app, platform, info, address, user_agent, wire, connected_at, last_active, login_at, expires_at,
    tags, tags_count, waiting, waiting_bytes, traced } = connection;
  const agent = agentOf(user_agent);
  return (
    <div class="detail">
      {closed !== null ? (
        <section class="ended" data-testid="closed">
          <h3><Icon name="off" /> {t("isClosed")}</h3>
          <dl class="facts">
            <Fact name={t("code")}><CodeText code={closed.code} /></Fact>
            <Fact name={t("closedBy")}>{t(`by_${closed.by}`)}</Fact>
            <Fact name={t("reason")}>{closed.reason || t("none")}</Fact>
            <Fact name={t("closedAt")}><Ago time={closed.at} /></Fact>
            <Fact name={t("lasted")}>{span(closed.at - connected_at)}</Fact>
          </dl>
        </section>
      ) : (
        <div class="tools">
          <Button icon="send" onClick={() => go("send", { to: "connection", target: id })}>{t("sendTo")}</Button>
          <Button icon="off" kind="danger" disabled={!online} onClick={() => askKick({ id, user, name, session })}
            testid="detail-kick">
            {t("forceOffline")}
          </Button>
        </div>
      )}
      <section>
        <h3>{t("facts")}</h3>
        <dl class="facts">
          <Fact name={t("connection")} wide><Copied text={id} what={t("connection")} /></Fact>
          {session !== undefined && <Fact name={t("session")} wide><Copied text={session} what={t("session")} /></Fact>}
          <Fact name={t("user")}>
            {user === undefined ? <span class="soft">{t("anonymous")}</span>
              : <a href={hashOf("connections", { user })}>{user}</a>}
          </Fact>
          {name !== undefined && <Fact name={t("name")}>{name}</Fact>}
          <Fact name={t("address")}>{address === undefined ? "–" : <Copied text={address} what={t("address")} />}</Fact>
          <Fact name={t("app")}>{app ?? "–"}</Fact>
          <Fact name={t("platform")}>{platform ?? "–"}</Fact>
          <Fact name={t("wire")}>{wire}</Fact>
          <Fact name={t("browser")}>{agent.browser || "–"}</Fact>
          <Fact name={t("system")}>{agent.system || "–"}</Fact>
          <Fact name={t("connectedAt")}>{date(connected_at)}</Fact>
          <Fact name={t("lastActive")}><Ago time={last_active} /></Fact>
          {login_at !== undefined && <Fact name={t("loginAt")}>{date(login_at)}</Fact>}
          {closed === null && (
            <Fact name={t("expires")}>
              {expires_at === undefined ? t("never") : `${date(expires_at)} (${span(Math.max(0, expires_at - serverNow()))})`}
            </Fact>
          )}
          {user_agent !== undefined && <Fact name={t("agent")} wide><small>{user_agent}</small></Fact>}
        </dl>
      </section>
      <section>
        <h3>{t("tags")} <span class="count">{tags_count}</span></h3>
        {tags.length === 0 ? <p class="soft">{t("noTags")}</p> : (
          <ul class="chips">
            {tags.map((tag) => <li key={tag}><a class="chip" href={hashOf("tags", { tag })}>{tag}</a></li>)}
          </ul>
        )}
      </section>
      {closed === null && (
        <section>
          <h3>{t("queue")}</h3>
          <p class={waiting > 0 ? "" : "soft"} data-testid="queue">
            {waiting > 0 ? n("queueOf", waiting, { bytes: bytes(waiting_bytes) }) : t("queueEmpty")}
          </p>
        </section>
      )}
      {info !== undefined && info !== null && (
        <section>
          <h3>{t("info")} <Copy text={JSON.stringify(info)} what={t("info")} /></h3>
          <pre class="json" tabIndex={0}>{JSON.stringify(info, null, 2)}</pre>
        </section>
      )}
      <Trace id={id} traced={traced && closed === null} gone={closed !== null} first={frames} reload={reload} />
    </div>
  );
}

function Fact({ name, wide = false, children }: { name: string; wide?: boolean; children: ComponentChildren }): JSX.Element {
  return <div class={wide ? "wide" : ""}><dt>{name}</dt><dd>{children}</dd></div>;
}

function Copied({ text, what }: { text: string; what: string }): JSX.Element {
  return <span class="id"><code>{text}</code><Copy text={text} what={what} /></span>;
}

function Trace({ id, traced, gone, first, reload }: {
  id: string; traced: boolean; gone: boolean; first: readonly Frame[]; reload: () => void;
}): JSX.Element {
  const texts = useTexts();
  const { t, number, bytes, span } = texts;
  const online = useOnline();
  const limits = useCell(hello)?.tracing;
  const [wanted, setWanted] = useState<boolean | undefined>();
  const [direction, setDirection] = useState<"" | "in" | "out">("");
  const [text, setText] = useState("");
  const on = wanted ?? traced;
  const { frames, clear, restart } = useFrames(id, first.length === 0 ? NO_FRAMES : first, on, reload);
  useEffect(() => setWanted(undefined), [traced]);

  const toggle = async (): Promise<void> => {
    try {
      if (!on) restart();
      const { traced: now } = await request("admin/trace", { id, on: !on });
      setWanted(now);
      reload();
    } catch (error) {
      toast(`${t("failed")}: ${reasonOf(error, texts)}`, "bad");
    }
  };
  const shown = frames.toArray().reverse().filter((frame) => frameMatches(frame, direction, text));
  return (
    <section data-testid="trace">
      <div class="trace-head">
        <h3 id="trace-title">{t("frames")}</h3>
        {!gone && (
          <button type="button" role="switch" class="switch" aria-checked={on} disabled={!online} onClick={() => void toggle()}
            data-testid="trace-switch">
            <i aria-hidden="true" />
            {t("traceOn")}
          </button>
        )}
      </div>
      {!gone && (
        <p class="soft note">
          {t("traceHint")}
          {limits && ` ${t("traceLimits", {
            connections: number(limits.max_connections), frames: number(limits.max_frames), bytes: bytes(limits.max_bytes),
            time: span(limits.max_seconds * 1000),
          })}`}
        </p>
      )}
      {frames.length > 0 && (
        <div class="tools">
          <Choice<"" | "in" | "out"> label={t("frames")} value={direction} onChange={setDirection}
            options={[["", t("both")], ["in", t("in")], ["out", t("out")]]} testid="trace-direction" />
          <Field label={t("filterText")} placeholder={t("filterText")} value={text} onInput={setText} hidden type="search"
            testid="trace-filter" />
          <Button small onClick={clear}>{t("clear")}</Button>
        </div>
      )}
      {shown.length === 0 ? (
        <p class="soft nothing">{t(frames.length > 0 ? "framesNoMatch" : on ? "framesNone" : gone ? "framesGone" : "framesOff")}</p>
      ) : (
        <ol class="frames" aria-labelledby="trace-title">
          {shown.map((frame) => <FrameLine key={frame.seq} frame={frame} />)}
        </ol>
      )}
    </section>
  );
}

function FrameLine({ frame }: { frame: Frame }): JSX.Element {
  const { t, clock, bytes } = useTexts();
  const [open, setOpen] = useState(false);
  const { at, direction, kind, text, cut, hidden } = frame;
  const said = hidden ? t("hiddenToken") : text;
  return (
    <li class={direction} data-testid="frame" data-direction={direction}>
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name={direction === "in" ? "arrowIn" : "arrowOut"} size={14} />
        <span class="hidden">{t(direction === "in" ? "frameIn" : "frameOut")}</span>
        <time>{clock(at)}</time>
        {kind !== "text" && <Badge>{kind}</Badge>}
        <code class={hidden ? "soft" : ""}>{said.slice(0, PREVIEW)}</code>
        <span class="soft">{bytes(frame.bytes)}</span>
      </button>
      {open && (
        <div class="frame-text">
          <pre class="json" tabIndex={0}>{hidden ? said : pretty(text)}{cut ? `\n… ${t("cut")}` : ""}</pre>
          {!hidden && <Copy text={text} what={t("frame")} />}
        </div>
      )}
    </li>
  );
}
