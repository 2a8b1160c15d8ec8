// The examples of docs/browser.md compile.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
/** Below `web`, so that the examples find React and Vue. */
const place = "node_modules/.docs";
const prelude = `
declare function show(text: string): void;
declare function fetchToken(): Promise<string>;
declare function logIn(): Promise<string>;
declare function logOut(): void;
declare const signal: AbortSignal;
`;
/** What the shorter examples take for granted. */
const shared = `
import { AntiphonError, Client, CloseCode, ErrorCode } from "antiphon";
declare const client: Client;
`;

it("the examples of the documentation compile", () => {
  const page = readFileSync("../docs/browser.md", "utf8");
  const blocks = [...page.matchAll(/^```(tsx?)\n(.*?)^```$/gms)];
  expect(blocks.length).toBeGreaterThan(8);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  writeFileSync(`${place}/prelude.d.ts`, prelude);
  writeFileSync(`${place}/react.tsx`, readFileSync("examples/react.tsx"));
  const files = ["prelude.d.ts", "react.tsx"];
  for (const [index, [, kind, code]] of blocks.entries()) {
    const isWhole = /^import /m.test(code!);
    const imports = isWhole ? "" : code!.includes("const client =") ? shared.split("\n")[1] : shared;
    files.push(`example${index}.${kind}`);
    writeFileSync(`${place}/${files.at(-1)}`, `${imports}\n${code}\nexport {};\n`);
  }
  const compilerOptions = { noUnusedLocals: false, skipLibCheck: true, paths: { antiphon: ["../../src/index.ts"] } };
  const config = { extends: "../../tsconfig.json", compilerOptions, include: [], files };
  writeFileSync(`${place}/tsconfig.json`, JSON.stringify(config));
  const { stdout } = spawnSync(process.execPath, [tsc, "-p", place], { encoding: "utf8" });
  expect(stdout).toBe("");
}, 60_000);
