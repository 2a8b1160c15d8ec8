// The way from page to page.

import { $, make } from "./dom";
import type { CommonKey, Words } from "./i18n";

/** The server says where its admin page is, if it has one that this page's reader may reach. */
export function linkToAdmin(words: Pick<Words<CommonKey>, "put">): void {
  const { admin } = document.documentElement.dataset;
  if (!admin) return;
  const link = words.put(make("a"), "admin");
  link.href = admin;
  $("pages").append(link);
}
