// Each page of the server as three files of fixed names, and the client as one, for crates/server/pages.
//
//     PAGE=chat vite build --config vite.pages.config.ts
//
// `npm run build:pages` builds them all. What is built is committed: `cargo install` needs no Node.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type Plugin, defineConfig } from "vite";

const here = import.meta.dirname;
const out = join(here, "../crates/server/pages");
const name = process.env.PAGE ?? "";

/** The HTML names its files by the paths at which the server has them: it goes as it is. */
function html(): Plugin {
  const source = join(here, "pages", name, `${name}.html`);
  return {
    name: "antiphon-html",
    buildStart() {
      this.addWatchFile(source);
    },
    generateBundle() {
      this.emitFile({ type: "asset", fileName: `${name}.html`, source: readFileSync(source, "utf8") });
    },
  };
}

const client = name === "antiphon";

export default defineConfig({
  root: here,
  publicDir: false,
  logLevel: "warn",
  plugins: client ? [] : [html()],
  build: {
    outDir: out,
    emptyOutDir: false,
    target: ["chrome111", "firefox114", "safari16.4"],
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rollupOptions: {
      input: client ? join(here, "src/index.ts") : join(here, "pages", name, "main.ts"),
      preserveEntrySignatures: client ? "strict" : false,
      output: {
        format: "es",
        entryFileNames: `${name}.js`,
        assetFileNames: `${name}[extname]`,
        codeSplitting: false,
      },
    },
  },
});
