// The small parts that views are made of.
/** @jsxImportSource preact */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { AntiphonError } from "../../../src/index.js";
import { Cell, useCell } from "../lib/cell.js";
import { useTick } from "../lib/clock.js";
import { serverNow, state } from "../link.js";
import { type Key, isKey, type Texts, useTexts } from "../texts.js";
import { Icon, type IconName } from "./icons.js";

interface ButtonProps {
  children?: ComponentChildren;
  icon?: IconName;
  kind?: "primary" | "danger" | "plain" | "bare";
  onClick?: (event: MouseEvent) => void;
  disabled?: boolean;
  submit?: boolean;
  label?: string | undefined;
  title?: string | undefined;
  pressed?: boolean;
  testid?: string;
  small?: boolean;
}

export function Button(props: ButtonProps): JSX.Element {
  const { children, icon, kind = "plain", label, title, pressed, testid } = props;
  return (
    <button
      type={props.submit ? "submit" : "button"}
      class={`button ${kind}${props.small ? " small" : ""}${children === undefined ? " square" : ""}`}
      onClick={props.onClick}
      disabled={props.disabled}
      aria-label={label}
      title={title ?? (children === undefined ? label : undefined)}
      aria-pressed={pressed}
      data-testid={testid}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

interface FieldProps {
  label: string;
  value: string;
  onInput: (value: string) => void;
  type?: string;
  placeholder?: string;
  hidden?: boolean;
  list?: string;
  focus?: boolean;
  search?: boolean;
  testid?: string;
  invalid?: boolean;
  describedBy?: string;
}

/** A text field with its label; `search` marks the one that `/` goes to. */
export function Field(props: FieldProps): JSX.Element {
  const input = (
    <input
      type={(props.type ?? "text") as "text"}
      value={props.value}
      placeholder={props.placeholder}
      list={props.list}
      autocomplete="off"
      autocapitalize="off"
      spellcheck={false}
      onInput={(event) => props.onInput(event.currentTarget.value)}
      data-search={props.search ? "" : undefined}
      data-testid={props.testid}
      aria-label={props.hidden ? props.label : undefined}
      aria-invalid={props.invalid || undefined}
      aria-describedby={props.describedBy}
    />
  );
  if (props.hidden) {
    return (
      <span class="labelled search">
        <Icon name="search" />
        {input}
      </span>
    );
  }
  return (
    <label class={props.type === "datetime-local" ? "labelled moment" : "labelled"}>
      <span>{props.label}</span>
      {input}
    </label>
  );
}

interface ChoiceProps<Value extends string> {
  label: string;
  value: Value;
  options: readonly (readonly [Value, string])[];
  onChange: (value: Value) => void;
  testid?: string;
}

/** A few choices side by side; one of them holds. */
export function Choice<Value extends string>(props: ChoiceProps<Value>): JSX.Element {
  const name = useId();
  return (
    <fieldset class="choice" data-testid={props.testid}>
      <legend class="hidden">{props.label}</legend>
      {props.options.map(([value, text]) => (
        <label key={value}>
          <input
            type="radio"
            name={name}
            value={value}
            checked={value === props.value}
            onChange={() => props.onChange(value)}
          />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

let ids = 0;

export function useId(): string {
  return useState(() => `id${(ids += 1)}`)[0];
}

export function Select<Value extends string>(props: ChoiceProps<Value>): JSX.Element {
  return (
    <label class="labelled">
      <span>{props.label}</span>
      <select
        value={props.value}
        data-testid={props.testid}
        onChange={(event) => props.onChange(event.currentTarget.value as Value)}
      >
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Copies a text; says so by its icon and to who listens. */
export function Copy({ text, what }: { text: string; what: string }): JSX.Element {
  const { t } = useTexts();
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async (event: MouseEvent): Promise<void> => {
    event.stopPropagation();
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
    } catch (error) {
      toast(String(error), "bad");
    }
  };
  return (
    <button type="button" class={`copy${done ? " done" : ""}`} onClick={copy} aria-label={t("copyOf", { what })}
      title={done ? t("copied") : t("copyOf", { what })}>
      <Icon name={done ? "check" : "copy"} size={14} />
      <span class="hidden" role="status">{done ? t("copied") : ""}</span>
    </button>
  );
}

/** An id: its beginning, all of it in the title, and a way to copy it. */
export function Id({ id, what, length = 8 }: { id: string; what: string; length?: number }): JSX.Element {
  return (
    <span class="id">
      <code title={id}>{id.length > length + 2 ? `${id.slice(0, length)}…` : id}</code>
      <Copy text={id} what={what} />
    </span>
  );
}

export function Badge({ children, tone = "" }: { children: ComponentChildren; tone?: string }): JSX.Element {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** How long ago, ticking. */
export function Ago({ time }: { time: number }): JSX.Element {
  const { ago, date } = useTexts();
  useTick();
  return (
    <time dateTime={new Date(time).toISOString()} title={date(time)}>
      {ago(time, serverNow())}
    </time>
  );
}

export function Empty({ text, icon = "empty", children }: {
  text: string; icon?: IconName; children?: ComponentChildren;
}): JSX.Element {
  return (
    <div class="empty">
      <Icon name={icon} size={28} />
      <p>{text}</p>
      {children}
    </div>
  );
}

export function Skeleton({ lines = 4 }: { lines?: number }): JSX.Element {
  const { t } = useTexts();
  return (
    <div class="skeleton" role="status">
      <span class="hidden">{t("loading")}</span>
      {Array.from({ length: lines }, (_, index) => <i key={index} class={`w${index % 4}`} />)}
    </div>
  );
}

export function Problem({ error, retry }: { error: unknown; retry?: () => void }): JSX.Element {
  const texts = useTexts();
  return (
    <div class="empty problem" role="alert">
      <Icon name="alert" size={28} />
      <p>
        <b>{texts.t("failedLoad")}</b>
        <br />
        {reasonOf(error, texts)}
      </p>
      {retry && <Button onClick={retry} icon="refresh">{texts.t("retry")}</Button>}
    </div>
  );
}

/** What went wrong, for people. */
export function reasonOf(error: unknown, { t }: Pick<Texts, "t">): string {
  if (error instanceof AntiphonError) {
    if (error.code === "timeout") return t("timeout");
    if (typeof error.code === "string") return t("offline");
    return `${error.message} (${error.code})`;
  }
  return error instanceof Error ? error.message : String(error);
}

/** A close code with its meaning. */
export function CodeText({ code }: { code: number }): JSX.Element {
  const { t } = useTexts();
  const key = `code_${code}`;
  return (
    <span class="code-text">
      <code>{code}</code>
      {isKey(key) && <span>{t(key as Key)}</span>}
    </span>
  );
}

/** Nobody's name is shown as such. */
export function Who({ user, name }: { user?: string | undefined; name?: string | undefined }): JSX.Element {
  const { t } = useTexts();
  if (user === undefined) return <span class="soft">{t("anonymous")}</span>;
  return (
    <>
      <b>{name ?? user}</b>
      {name !== undefined && name !== user && <small>{user}</small>}
    </>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  kind?: "center" | "side";
  testid?: string;
  label?: string;
}

/** The browser's own dialog: it keeps the focus, Esc closes it, and the focus goes back. */
export function Dialog({ title, onClose, children, kind = "center", testid }: DialogProps): JSX.Element {
  const { t } = useTexts();
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const element = dialog.current;
    if (element === null) return;
    const before = document.activeElement;
    element.showModal();
    return () => {
      element.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={kind}
      aria-labelledby={id}
      data-testid={testid}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => event.target === dialog.current && onClose()}
    >
      <div class="sheet">
        <header>
          <h2 id={id} tabIndex={-1}>{title}</h2>
          <Button icon="close" kind="bare" label={t("close")} onClick={onClose} />
        </header>
        {children}
        {kind === "side" && <Toasts />}
      </div>
    </dialog>
  );
}

interface Toast {
  id: number;
  text: string;
  tone: "good" | "bad";
}

const toasts = new Cell<readonly Toast[]>([]);
const TOAST_MS = 6000;

/** Says a result, politely. */
export function toast(text: string, tone: Toast["tone"] = "good"): void {
  const made = { id: (ids += 1), text, tone };
  toasts.set([...toasts.value.slice(-2), made]);
  setTimeout(() => toasts.set(toasts.value.filter((other) => other !== made)), TOAST_MS);
}

export function Toasts(): JSX.Element {
  const shown = useCell(toasts);
  return (
    <div class="toasts" role="status" aria-live="polite" data-testid="toasts">
      {shown.map(({ id, text, tone }) => (
        <p key={id} class={tone}>
          <Icon name={tone === "good" ? "check" : "alert"} />
          {text}
        </p>
      ))}
    </div>
  );
}

/** The head of a view: what it is, and what can be done with all of it. */
export function Head({ title, sub, children }: {
  title: string; sub?: ComponentChildren; children?: ComponentChildren;
}): JSX.Element {
  return (
    <header class="head">
      <div>
        <h1 tabIndex={-1}>{title}</h1>
        {sub !== undefined && <p class="sub">{sub}</p>}
      </div>
      {children !== undefined && <div class="tools">{children}</div>}
    </header>
  );
}

/** Whether requests can be made now. */
export function useOnline(): boolean {
  return useCell(state).name === "open";
}
