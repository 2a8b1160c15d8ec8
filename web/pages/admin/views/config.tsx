// The configuration in force: every setting, its value, where it came from.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";

import type { ConfigRow } from "../api.js";
import { groupsOf } from "../lib/settings.js";
import { Badge, Copy, Empty, Field, Head, Problem, Skeleton } from "../parts/ui.js";
import { useQuery } from "../query.js";
import { replace } from "../router.js";
import { useTexts } from "../texts.js";

export function Config({ params }: { params: Readonly<Record<string, string>> }): JSX.Element {
  const { t, n } = useTexts();
  const { data, error, loading, reload } = useQuery("admin/config", {});
  const search = params["search"] ?? "";
  const changed = params["changed"] === "1";
  const groups = useMemo(() => groupsOf(data?.rows ?? [], search, changed), [data, search, changed]);
  const count = groups.reduce((sum, [, rows]) => sum + rows.length, 0);
  return (
    <div class="view">
      <Head title={t("configTitle")}
        sub={data && (
          <>
            {data.file === null ? t("configNoFile") : t("configFile", { file: data.file })} · <span role="status">{n("nSettings", count)}</span>
          </>
        )}>
        <Field label={t("search")} placeholder={t("search")} value={search} hidden search type="search"
          testid="filter-search" onInput={(value) => replace({ ...params, search: value })} />
        <label class="check">
          <input type="checkbox" checked={changed} data-testid="changed"
            onChange={(event) => replace({ ...params, changed: event.currentTarget.checked ? "1" : undefined })} />
          <span>{t("changedOnly")}</span>
        </label>
      </Head>
      {loading ? (
        <div class="card"><Skeleton lines={8} /></div>
      ) : data === undefined ? (
        <div class="card"><Problem error={error} retry={reload} /></div>
      ) : count === 0 ? (
        <div class="card"><Empty text={t("configNone")} icon="search" /></div>
      ) : (
        groups.map(([name, rows]) => (
          <section key={name} class="card group" aria-label={name || t("configTitle")}>
            <h2><code>{name === "" ? "" : `[${name}]`}</code></h2>
            <dl>
              {rows.map((row) => <Setting key={row.key} row={row} short={row.key.slice(name === "" ? 0 : name.length + 1)} />)}
            </dl>
          </section>
        ))
      )}
    </div>
  );
}

function Setting({ row, short }: { row: ConfigRow; short: string }): JSX.Element {
  const { t } = useTexts();
  const { key, value, source, secret, about } = row;
  return (
    <div class="setting" data-testid="setting" data-key={key}>
      <dt>
        <code>{short}</code>
        <Copy text={key} what={key} />
        {about !== "" && <small>{about}</small>}
      </dt>
      <dd>
        {secret && value !== null
          ? <Badge tone="wait">{t("secret")} · {t("hidden")}</Badge>
          : value === null ? <span class="soft">{t("unset")}</span> : <code class="value">{value}</code>}
        <Badge tone={source === null ? "" : "accent"}>{source ?? t("default")}</Badge>
      </dd>
    </div>
  );
}
