// Tags, and who is in them.
/** @jsxImportSource preact */
import type { JSX } from "preact";

import type { Tag } from "../api.js";
import { hashOf } from "../lib/route.js";
import { useChain, useRows } from "../pages.js";
import { useReloadAfterKick } from "../parts/kick.js";
import { ConnectionTable, usePhone } from "../parts/table.js";
import { Button, Copy, Empty, Field, Head, Problem, Skeleton } from "../parts/ui.js";
import { Virtual } from "../parts/virtual.js";
import { go, replace } from "../router.js";
import { useTexts } from "../texts.js";

const REFRESH_MS = 5000;

/** Who types a word without a star looks for it anywhere. */
function patternOf(text: string): string {
  return text.includes("*") ? text : `*${text}*`;
}

export function Tags({ params }: { params: Readonly<Record<string, string>> }): JSX.Element {
  const { t, n, number } = useTexts();
  const phone = usePhone();
  const { tag, pattern = "" } = params;
  const list = useChain("admin/tags", pattern === "" ? {} : { pattern: patternOf(pattern) }, (item: Tag) => item.tag, REFRESH_MS);
  const names = (
    <section class="card fill">
      {list.loading ? (
        <Skeleton lines={8} />
      ) : list.error !== undefined && list.items.length === 0 ? (
        <Problem error={list.error} retry={list.reload} />
      ) : list.items.length === 0 ? (
        <Empty text={t(pattern === "" ? "tagsEmpty" : "tagsNoMatch")} icon="tags" />
      ) : (
        <Virtual total={list.items.length} row={40} label={t("tagsTitle")} role="list" testid="tags" reset={pattern}
          onWindow={(_, end) => end >= list.items.length && list.open && list.more()}>
          {(first, end) =>
            list.items.slice(first, end).map((item) => (
              <div role="listitem" key={item.tag} class={item.tag === tag ? "item current" : "item"} data-testid="tag-row" data-tag={item.tag}>
                <a href={hashOf("tags", { ...params, tag: item.tag, c: undefined })}
                  aria-current={item.tag === tag || undefined}>
                  <code>{item.tag}</code>
                </a>
                <span class="soft">{number(item.count)}</span>
              </div>
            ))}
        </Virtual>
      )}
    </section>
  );
  return (
    <div class="view full">
      <Head title={t("tagsTitle")} sub={list.total !== undefined && n("nTags", list.total)}>
        <Field label={t("pattern")} placeholder={t("pattern")} value={pattern} hidden search type="search"
          testid="filter-pattern" onInput={(value) => replace({ ...params, pattern: value })} />
      </Head>
      <div class={`split${tag === undefined ? "" : " chosen"}`}>
        {(!phone || tag === undefined) && names}
        {tag !== undefined ? (
          <Members key={tag} tag={tag} params={params} />
        ) : (
          !phone && <section class="card fill"><Empty text={t("tagChoose")} icon="tags" /></section>
        )}
      </div>
    </div>
  );
}

function Members({ tag, params }: { tag: string; params: Readonly<Record<string, string>> }): JSX.Element {
  const { t, n } = useTexts();
  const phone = usePhone();
  const rows = useRows(tag, () => ({ filter: { tag } }), REFRESH_MS);
  useReloadAfterKick(rows.reload);
  const { total } = rows;
  return (
    <section class="card fill" data-testid="members">
      <header class="panel-head">
        {phone && (
          <Button icon="back" kind="bare" label={t("allTags")} onClick={() => go("tags", { ...params, tag: undefined })} />
        )}
        <h2><code>{tag}</code></h2>
        <Copy text={tag} what={t("tag")} />
        <span class="soft grow">{total !== undefined && n("nMembers", total)}</span>
        <Button icon="send" small label={t("sendTo")} onClick={() => go("send", { to: "tag", target: tag })}>
          {phone ? undefined : t("sendTo")}
        </Button>
      </header>
      {total === undefined ? (
        rows.error === undefined ? <Skeleton lines={6} /> : <Problem error={rows.error} retry={rows.reload} />
      ) : total === 0 ? (
        <Empty text={t("membersNone")} icon="connections" />
      ) : (
        <ConnectionTable total={total} label={`${t("members")}: ${tag}`} row={rows.row} onWindow={rows.look} reset={tag} />
      )}
    </section>
  );
}
