// Writes the types beside both builds, and says which of them is CommonJS.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What the public face is made of; the types of the other rooms are nobody's business. */
const PUBLIC = ["index", "client", "errors", "types", "generated/protocol"];

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const all = mkdtempSync(join(tmpdir(), "antiphon-types-"));
execFileSync(process.execPath, [tsc, "-p", "tsconfig.types.json", "--outDir", all], { stdio: "inherit" });
for (const name of PUBLIC) {
  for (const build of ["dist", "dist/cjs"]) cpSync(join(all, `${name}.d.ts`), join(build, `${name}.d.ts`));
}
rmSync(all, { recursive: true });
writeFileSync("dist/cjs/package.json", '{ "type": "commonjs" }\n');
