// Builds every page of this folder, one after the other: none shares a file with another.

import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";

import { build } from "vite";

const here = import.meta.dirname;
const all = ["echo", "chat", "watch", "admin", "antiphon"];
const wanted = process.argv.slice(2);
const source = (name) => join(here, name === "antiphon" ? "../src/index.ts" : `${name}/main.ts`);

for (const name of all.filter((page) => (wanted.length === 0 || wanted.includes(page)) && existsSync(source(page)))) {
  process.env.PAGE = name;
  await build({ configFile: join(here, "../vite.pages.config.ts") });
}
copyFileSync(join(here, "shared/icon.svg"), join(process.env.PAGES_OUT ?? join(here, "../../crates/server/pages"), "icon.svg"));
