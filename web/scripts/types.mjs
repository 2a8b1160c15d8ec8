// Writes the types beside both builds, and says which of them is CommonJS.

import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "-p", "tsconfig.types.json"], { stdio: "inherit" });
for (const name of readdirSync("dist", { recursive: true })) {
  if (name.endsWith(".d.ts") && !name.startsWith("cjs")) cpSync(join("dist", name), join("dist/cjs", name));
}
writeFileSync("dist/cjs/package.json", '{ "type": "commonjs" }\n');
