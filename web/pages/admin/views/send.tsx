// Sends an event to everybody, a user, a tag or a connection, and shows what became of it.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";

import type { Delivery, Target } from "../api.js";
import { useCell } from "../lib/cell.js";
import { faultOf, pretty } from "../lib/json.js";
import { request, sampled, samples } from "../link.js";
import { Button, Choice, Dialog, Empty, Field, Head, reasonOf, useId, useOnline } from "../parts/ui.js";
import { useQuery } from "../query.js";
import { replace } from "../router.js";
import { type Key, useTexts } from "../texts.js";

const TARGETS = ["all", "user", "tag", "connection"] as const;
type Kind = (typeof TARGETS)[number];
const NAMES: Record<Kind, Key> = { all: "toAll", user: "toUser", tag: "toTag", connection: "toConnection" };
/** What was sent from this page, as long as it is open. */
const MAX_SENT = 10;
const SUGGESTIONS = 20;

interface Sent {
  at: number;
  kind: Kind;
  target: string;
  event: string;
  data: string;
  delivery?: Delivery;
  error?: unknown;
}

let history: readonly Sent[] = [];
const draft = { event: "notice", data: '{\n  "text": "Hello"\n}' };

export function Send({ params }: { params: Readonly<Record<string, string>> }): JSX.Element {
  const texts = useTexts();
  const { t, n } = texts;
  const online = useOnline();
  const kind = TARGETS.find((name) => name === params["to"]) ?? "all";
  const target = params["target"] ?? "";
  const [event, setEvent] = useState(draft.event);
  const [data, setData] = useState(draft.data);
  const [sent, setSent] = useState(history);
  const [missing, setMissing] = useState<Key | "">("");
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const list = useId();
  const fault = useMemo(() => (data.trim() === "" ? undefined : faultOf(data)), [data]);
  draft.event = event;
  draft.data = data;

  const users = useQuery("admin/users", kind === "user" ? { prefix: target, limit: SUGGESTIONS } : undefined);
  const tags = useQuery("admin/tags", kind === "tag" ? { pattern: `${target}*`, limit: SUGGESTIONS } : undefined);
  const offered = kind === "user" ? users.data?.items.map((item) => item.user) : tags.data?.items.map((item) => item.tag);

  const submit = (): void => {
    if (busy || !online || fault !== undefined) return;
    const lacking: Key | "" = kind !== "all" && target.trim() === "" ? "needTarget" : event.trim() === "" ? "needEvent" : "";
    setMissing(lacking);
    if (lacking !== "") return;
    if (kind === "all") setAsking(true);
    else void send();
  };

  const send = async (): Promise<void> => {
    setAsking(false);
    setBusy(true);
    const made: Sent = { at: Date.now(), kind, target: target.trim(), event: event.trim(), data };
    const to = kind === "all" ? { all: true } : { [kind]: made.target };
    try {
      const body = data.trim() === "" ? {} : { data: JSON.parse(data) as unknown };
      made.delivery = await request("admin/send", { to: to as Target, event: made.event, ...body });
    } catch (error) {
      made.error = error;
    }
    history = [made, ...history].slice(0, MAX_SENT);
    setSent(history);
    setBusy(false);
  };

  return (
    <div class="view">
      <Head title={t("sendTitle")} />
      <div class="columns">
        <form class="card form" data-testid="send-form"
          onSubmit={(submitted) => {
            submitted.preventDefault();
            submit();
          }}
          onKeyDown={(pressed) => {
            if (pressed.key === "Enter" && (pressed.ctrlKey || pressed.metaKey)) {
              pressed.preventDefault();
              submit();
            }
          }}>
          <div class="line">
            <span class="label" aria-hidden="true">{t("to")}</span>
            <Choice<Kind> label={t("to")} value={kind} testid="send-to"
              options={TARGETS.map((name) => [name, t(NAMES[name])] as const)}
              onChange={(chosen) => {
                setMissing("");
                replace({ to: chosen === "all" ? undefined : chosen });
              }} />
          </div>
          {kind !== "all" && (
            <>
              <Field label={t(NAMES[kind])} value={target} list={list} testid="send-target" invalid={missing === "needTarget"}
                onInput={(value) => replace({ to: kind, target: value })} />
              <datalist id={list}>{offered?.map((name) => <option key={name} value={name} />)}</datalist>
            </>
          )}
          <Field label={t("event")} value={event} onInput={setEvent} testid="send-event" invalid={missing === "needEvent"} />
          <Editor value={data} onInput={setData} />
          {missing !== "" && <p class="error" role="alert">{t(missing)}</p>}
          <footer>
            <span class="soft grow">{t("dataHint")}</span>
            <Button kind="primary" submit icon="send" disabled={busy || !online || fault !== undefined} testid="send-submit">
              {t(busy ? "sending" : "sendDo")}
            </Button>
          </footer>
        </form>
        <section class="card panel results" aria-label={t("result")}>
          <header><h2>{t("result")}</h2></header>
          <div role="status" aria-live="polite" data-testid="send-result">
            {sent[0] === undefined
              ? <Empty text={t("resultEmpty")} icon="send" />
              : <Result key={sent[0].at} sent={sent[0]} />}
          </div>
          {sent.length > 0 && (
            <>
              <h3>{t("earlier")}</h3>
              <ul class="lines">
                {sent.map((one) => (
                  <li key={one.at}>
                    <span class="grow">
                      <b>{one.event}</b>
                      <small>{t(NAMES[one.kind])} {one.target}</small>
                    </span>
                    <span class={one.error === undefined ? "soft" : "bad"}>
                      {one.delivery ? n("receivers", one.delivery.receivers) : reasonOf(one.error, texts)}
                    </span>
                    <Button small onClick={() => {
                      setEvent(one.event);
                      setData(one.data);
                      replace(one.kind === "all" ? {} : { to: one.kind, target: one.target });
                    }}>
                      {t("again")}
                    </Button>
                  </li>
                ))}
              </ul>
            </>
          )}
        </section>
      </div>
      {asking && <ToAll onClose={() => setAsking(false)} onSend={() => void send()} />}
    </div>
  );
}

function ToAll({ onClose, onSend }: { onClose: () => void; onSend: () => void }): JSX.Element {
  const { t, n } = useTexts();
  useCell(sampled);
  const count = samples.at(samples.length - 1)?.connections ?? 0;
  return (
    <Dialog title={t("sendAllTitle")} onClose={onClose} testid="send-all-dialog">
      <form class="form" onSubmit={(event) => {
        event.preventDefault();
        onSend();
      }}>
        <p>{n("sendAllText", count)}</p>
        <footer>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" submit icon="send" testid="send-all-confirm">{t("sendDo")}</Button>
        </footer>
      </form>
    </Dialog>
  );
}

/** A field for JSON with the numbers of its lines, and where it is wrong. */
function Editor({ value, onInput }: { value: string; onInput: (value: string) => void }): JSX.Element {
  const { t } = useTexts();
  const id = useId();
  const numbers = useRef<HTMLPreElement>(null);
  const fault = value.trim() === "" ? undefined : faultOf(value);
  const lines = value.split("\n").length;
  const said =
    fault === undefined
      ? value.trim() === "" ? "" : t("valid")
      : t("faultAt", { line: fault.line, column: fault.column, problem: t(`fault_${fault.problem}`, { found: `“${fault.found}”` }) });
  return (
    <div class="labelled">
      <label for={id}>{t("data")}</label>
      <div class={`editor${fault === undefined ? "" : " wrong"}`}>
        <pre ref={numbers} aria-hidden="true">
          {Array.from({ length: lines }, (_, index) => (
            <span key={index} class={fault?.line === index + 1 ? "bad" : ""}>{index + 1}{"\n"}</span>
          ))}
        </pre>
        <textarea id={id} value={value} spellcheck={false} wrap="off" rows={12} aria-describedby={`${id}-said`}
          aria-invalid={fault !== undefined || undefined} data-testid="send-data"
          onInput={(event) => onInput(event.currentTarget.value)}
          onScroll={(event) => {
            if (numbers.current) numbers.current.scrollTop = event.currentTarget.scrollTop;
          }} />
      </div>
      <div class="under">
        <span id={`${id}-said`} class={fault === undefined ? "soft" : "bad"} role="status" data-testid="send-fault">{said}</span>
        <Button small disabled={fault !== undefined || value.trim() === ""} onClick={() => onInput(pretty(value))}
          testid="send-format">
          {t("tidy")}
        </Button>
      </div>
    </div>
  );
}

const PARTS = [
  ["queued", "queued", "queuedHint"],
  ["conflated", "conflated", "conflatedHint"],
  ["dropped", "dropped", "droppedHint"],
  ["closing", "closing", "closingHint"],
] as const;

function Result({ sent }: { sent: Sent }): JSX.Element {
  const texts = useTexts();
  const { t, n, number, clock } = texts;
  const { delivery, error } = sent;
  if (delivery === undefined) return <p class="error delivery">{reasonOf(error, texts)}</p>;
  const { receivers, queued, conflated, dropped, closing, remote, unreachable } = delivery;
  const counts = { queued: queued - conflated, conflated, dropped, closing };
  return (
    <div class="delivery">
      <p class="big">
        <b data-testid="send-receivers">{n("receivers", receivers)}</b>
        <span class="soft">{sent.event} · {clock(sent.at)}</span>
      </p>
      {receivers === 0 ? (
        <p class="soft">{t("nobody")}</p>
      ) : (
        <>
          <div class="bar-stack" aria-hidden="true">
            {PARTS.map(([name]) => counts[name] > 0 && (
              <i key={name} class={name} style={{ flexGrow: counts[name] }} />
            ))}
          </div>
          <dl class="parts">
            {PARTS.map(([name, key, hint]) => (
              <div key={name} class={name} data-testid={`send-${name}`}>
                <dt>{t(key)}</dt>
                <dd><b>{number(counts[name])}</b> <small>{t(hint)}</small></dd>
              </div>
            ))}
          </dl>
        </>
      )}
      {remote && <p class="soft">{t("remote")}</p>}
      {unreachable && <p class="error">{t("unreachable")}</p>}
    </div>
  );
}
