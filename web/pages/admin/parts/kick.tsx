// Force offline: asks what ends, whether the login is revoked, does it, and says what came of it.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { CloseWhat } from "../api.js";
import { Cell, useCell } from "../lib/cell.js";
import { request } from "../link.js";
import { useTexts } from "../texts.js";
import { Button, Dialog, reasonOf, toast, useOnline } from "./ui.js";

export interface Kickable {
  id?: string;
  user?: string | undefined;
  name?: string | undefined;
  session?: string | undefined;
}

const asked = new Cell<Kickable | undefined>(undefined);
/** Grows with each success. */
const kicks = new Cell(0);

export function askKick(target: Kickable): void {
  asked.set(target);
}

/** After somebody was forced offline, lists are fetched at once. */
export function useReloadAfterKick(reload: () => void): void {
  const count = useCell(kicks);
  const seen = useRef(count);
  useEffect(() => {
    if (seen.current === count) return;
    seen.current = count;
    reload();
  }, [count]);
}

export function KickDialog(): JSX.Element | null {
  const target = useCell(asked);
  return target === undefined ? null : <Kick key={JSON.stringify(target)} target={target} />;
}

type Scope = "connection" | "session" | "user";

function Kick({ target }: { target: Kickable }): JSX.Element {
  const texts = useTexts();
  const { t, n } = texts;
  const online = useOnline();
  const [scope, setScope] = useState<Scope>(target.id !== undefined ? "connection" : "user");
  const [revoke, setRevoke] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const { id, user, session } = target;
  const scopes: [Scope, string, string][] = [];
  if (id !== undefined) scopes.push(["connection", t("kickOne"), id]);
  if (session !== undefined) scopes.push(["session", t("kickSession"), session]);
  if (user !== undefined) scopes.push(["user", t("kickUser", { user: target.name ?? user }), user]);
  const close = (): void => asked.set(undefined);

  const kick = async (event: Event): Promise<void> => {
    event.preventDefault();
    const what = { connection: id, session, user }[scope];
    if (what === undefined || busy) return;
    setBusy(true);
    setError("");
    try {
      const { closed, revoked } = await request("admin/close", { [scope]: what, revoke } as CloseWhat & { revoke: boolean });
      const result = closed > 0 ? n("kicked", closed) : t("kickedNone");
      close();
      kicks.set(kicks.value + 1);
      toast(revoke ? `${result} ${t(revoked ? "revokedToo" : "revokedNot")}` : result);
    } catch (failure) {
      setError(reasonOf(failure, texts));
      setBusy(false);
    }
  };

  return (
    <Dialog title={t("kickTitle")} onClose={close} testid="kick-dialog">
      <form class="form" onSubmit={kick}>
        <fieldset class="scopes">
          <legend>{t("kickWhat")}</legend>
          {scopes.map(([name, text, value]) => (
            <label key={name}>
              <input type="radio" name="scope" value={name} checked={scope === name} onChange={() => setScope(name)} />
              <span>
                {text}
                <code>{value}</code>
              </span>
            </label>
          ))}
        </fieldset>
        <label class="check">
          <input type="checkbox" checked={revoke} onChange={(event) => setRevoke(event.currentTarget.checked)}
            data-testid="kick-revoke" />
          <span>
            {t("revoke")}
            <small>{t("revokeHint")}</small>
          </span>
        </label>
        {error !== "" && <p class="error" role="alert">{error}</p>}
        <footer>
          <Button onClick={close}>{t("cancel")}</Button>
          <Button kind="danger" submit disabled={busy || !online} icon="off" testid="kick-confirm">{t("kickDo")}</Button>
        </footer>
      </form>
    </Dialog>
  );
}
