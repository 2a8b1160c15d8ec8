// The way from page to page.

import { $, make } from "./dom";
import type { CommonKey, Words } from "./i18n";

const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** The server says where its admin page is, if it has one: on its own machine, which only its own readers reach. */
export function linkToAdmin(words: Pick<Words<CommonKey>, "put">): void {
  const { admin } = document.documentElement.dataset;
  if (!admin || (LOCAL.test(new URL(admin).hostname) && !LOCAL.test(location.hostname))) return;
  const link = words.put(make("a"), "admin");
  link.href = admin;
  $("pages").append(link);
}
