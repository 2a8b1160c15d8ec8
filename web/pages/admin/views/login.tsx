// The way in: a token, and honest words when it is refused.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { useTick } from "../lib/clock.js";
import { access, login, resume } from "../link.js";
import { useCell } from "../lib/cell.js";
import { Mark } from "../parts/icons.js";
import { Switches } from "../parts/switches.js";
import { Button } from "../parts/ui.js";
import { type Key, useTexts } from "../texts.js";

/** The token that stood in the address. */
export interface Offer {
  token?: string | undefined;
}

/** `offered` is tried once: who logs out is not logged in again. */
export function Login({ offered }: { offered: Offer }): JSX.Element {
  const { t } = useTexts();
  const how = useCell(access);
  const [token, setToken] = useState("");
  const [seen, setSeen] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Key | "">("");
  const [until, setUntil] = useState(0);
  const now = useTick(until > 0);
  const field = useRef<HTMLInputElement>(null);
  const left = Math.ceil((until - now) / 1000);
  const limited = until > 0 && left > 0;

  const attempt = async (tried: string): Promise<void> => {
    if (busy || tried === "") return;
    setBusy(true);
    setProblem("");
    const result = await login(tried);
    setBusy(false);
    if ("wrong" in result) setProblem("loginWrong");
    else if ("failed" in result) setProblem("loginFailed");
    else if ("retryAfter" in result) setUntil(Date.now() + result.retryAfter * 1000);
    else setToken("");
    field.current?.select();
  };

  useEffect(() => {
    field.current?.focus();
    const token = offered.token;
    delete offered.token;
    if (token !== undefined) void attempt(token);
  }, []);

  const said = limited
    ? t("loginLimited", { seconds: left })
    : problem !== ""
      ? t(problem)
      : how === "over"
        ? t("loginOver")
        : how === "unreachable"
          ? t("loginFailed")
          : "";

  return (
    <div class="login">
      <div class="corner"><Switches /></div>
      <main>
        <form
          class="card"
          data-testid="login-form"
          onSubmit={(event) => {
            event.preventDefault();
            void attempt(token.trim());
          }}
        >
          <Mark size={44} />
          <h1>{t("loginTitle")}</h1>
          <p class="soft">{t("loginHint")}</p>
          <label class="labelled">
            <span>{t("token")}</span>
            <span class="with-button">
              <input
                ref={field}
                type={(seen ? "text" : "password") as "password"}
                value={token}
                autocomplete="current-password"
                spellcheck={false}
                required
                onInput={(event) => {
                  setToken(event.currentTarget.value);
                  setProblem("");
                }}
                aria-invalid={problem === "loginWrong" || undefined}
                aria-describedby="login-said"
                data-testid="login-token"
              />
              <Button icon="eye" kind="bare" label={t("showToken")} pressed={seen} onClick={() => setSeen(!seen)} />
            </span>
          </label>
          <p id="login-said" class="error" role="alert" data-testid="login-message">{said}</p>
          <Button kind="primary" submit disabled={busy || limited} testid="login-submit">{t("login")}</Button>
          {how === "unreachable" && <Button icon="refresh" onClick={() => void resume()}>{t("retry")}</Button>}
        </form>
      </main>
    </div>
  );
}
