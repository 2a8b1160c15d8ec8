// The package as npm packs it: its files, both kinds of modules, their types, their size.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const place = mkdtempSync(join(tmpdir(), "antiphon-"));
const installed = join(place, "node_modules/antiphon");
let files: string[];

beforeAll(() => {
  // It builds the library first, by the script `prepack`.
  const told = execFileSync("npm", ["pack", "--json", "--pack-destination", place], { encoding: "utf8" });
  const [packed] = JSON.parse(told.slice(told.indexOf("[\n")));
  files = packed.files.map(({ path }: { path: string }) => path).sort();
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", join(place, packed.filename), "-C", installed, "--strip-components=1"]);
}, 120_000);

afterAll(() => rmSync(place, { recursive: true }));

it("holds what it needs, and nothing else", () => {
  const types = ["client", "errors", "generated/protocol", "index", "types"].map((name) => `${name}.d.ts`);
  const code = ["index.js", "index.js.map"];
  expect(files).toEqual(
    [
      "LICENSE-APACHE",
      "LICENSE-MIT",
      "README.md",
      "package.json",
      "dist/cjs/package.json",
      ...[...code, ...types].flatMap((name) => [`dist/${name}`, `dist/cjs/${name}`]),
    ].sort(),
  );
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  expect([dependencies, peerDependencies]).toEqual([undefined, undefined]);
});

it("has at most 6 KB", () => {
  expect(gzipSync(readFileSync(join(installed, "dist/index.js"))).length).toBeLessThanOrEqual(6144);
});

const exported = ["AntiphonError", "Client", "CloseCode", "ErrorCode", "TEMPORARY_ERRORS", "reconnects"];
const body = `
  const client = new Client("wss://example.com/socket");
  if (client.state !== "idle" || !(new AntiphonError("lost", "") instanceof Error)) throw new Error("broken");
  console.log(Object.keys(all).filter((name) => name !== "default").sort().join());
`;

it.each([
  ["imported", "a.mjs", `import * as all from "antiphon"; const { Client, AntiphonError } = all; ${body}`],
  ["required", "a.cjs", `const all = require("antiphon"); const { Client, AntiphonError } = all; ${body}`],
])("can be %s", (_how, name, code) => {
  writeFileSync(join(place, name), code);
  expect(execFileSync(process.execPath, [name], { cwd: place, encoding: "utf8" }).trim()).toBe(exported.join());
});

it.each([
  ["modules and CommonJS", ["consumer.mts", "consumer.cts"], "nodenext", "nodenext"],
  ["a bundler", ["bundled.ts"], "esnext", "bundler"],
  ["an old configuration", ["old.ts"], "commonjs", "node10"],
])("has its types for %s", (_what, files, module, resolution) => {
  const code = `
    import { AntiphonError, Client, ErrorCode, type Session, type StateChange } from "antiphon";
    interface Events { a: { n: number } }
    interface Requests { r: (data: string) => number }
    const client = new Client<Events, Requests>("wss://example.com/socket", { protocol: "v1" });
    client.on("a", ({ n }) => n.toFixed());
    client.on("$state", (change: StateChange) => change.session satisfies Session | null);
    export const reply: Promise<number> = client.request("r", "data");
    export const isBusy = (error: AntiphonError): boolean => error.code === ErrorCode.TOO_MANY_REQUESTS;
    // @ts-expect-error: there is no such event.
    client.on("b", () => {});
  `;
  for (const name of files) writeFileSync(join(place, name), code);
  const compilerOptions = {
    noEmit: true,
    strict: true,
    skipDefaultLibCheck: true,
    target: "es2022",
    lib: ["es2022", "dom"],
    types: [],
    module,
    moduleResolution: resolution,
  };
  writeFileSync(join(place, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  const { stdout } = spawnSync(process.execPath, [tsc, "-p", "."], { cwd: place, encoding: "utf8" });
  expect(stdout).toBe("");
}, 60_000);
