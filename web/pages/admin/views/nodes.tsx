// The servers of the cluster.
/** @jsxImportSource preact */
import type { JSX } from "preact";

import { useTick } from "../lib/clock.js";
import { serverNow } from "../link.js";
import { Ago, Badge, Copy, Empty, Head, Problem, Skeleton } from "../parts/ui.js";
import { useQuery } from "../query.js";
import { useTexts } from "../texts.js";

const REFRESH_MS = 5000;
/** A node that has been silent for this long is shown as away. */
const SILENT_MS = 15_000;

export function Nodes(): JSX.Element {
  const { t, n, number, span } = useTexts();
  const { data, error, loading, reload } = useQuery("admin/nodes", {}, REFRESH_MS);
  useTick();
  const now = serverNow();
  return (
    <div class="view">
      <Head title={t("nodesTitle")} sub={data && n("nNodes", data.items.length)} />
      {loading ? (
        <div class="card"><Skeleton /></div>
      ) : data === undefined ? (
        <div class="card"><Problem error={error} retry={reload} /></div>
      ) : data.items.length === 0 ? (
        <div class="card"><Empty text={t("nodesNone")} icon="nodes" /></div>
      ) : (
        <ul class="nodes">
          {data.items.map(({ id, node, self, version, started_at, connections, users, tags, seen_at }) => {
            const silent = now - seen_at > SILENT_MS;
            return (
              <li key={id} class="card node" data-testid="node" data-node={node}>
                <header>
                  <i class={silent ? "dot bad" : "dot good"} aria-hidden="true" />
                  <h2>{node}</h2>
                  <Copy text={id} what={node} />
                  {self && <Badge tone="accent">{t("self")}</Badge>}
                </header>
                <dl class="facts">
                  <div><dt>{t("byConnection")}</dt><dd><b>{number(connections)}</b></dd></div>
                  <div><dt>{t("users")}</dt><dd><b>{number(users)}</b></dd></div>
                  <div><dt>{t("tags")}</dt><dd><b>{number(tags)}</b></dd></div>
                  <div><dt>{t("version")}</dt><dd>{version}</dd></div>
                  <div><dt>{t("uptime")}</dt><dd>{span(Math.max(0, now - started_at))}</dd></div>
                  <div><dt>{t("seen")}</dt><dd><Ago time={seen_at} /></dd></div>
                </dl>
              </li>
            );
          })}
        </ul>
      )}
    </div>
  );
}
