// Each page of the server as three files of fixed names, and the client as one, for crates/server/pages.
//
//     PAGE=chat vite build --config vite.pages.config.ts
//
// `npm run build:pages` builds them all. What is built is committed: `cargo install` needs no Node. CI builds it once more,
// into PAGES_OUT, and compares.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { type Plugin, defineConfig } from "vite";

const here = import.meta.dirname;
const out = process.env.PAGES_OUT ?? join(here, "../crates/server/pages");
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

/** The licences of the libraries that the script holds, as they ask for it, in a file beside it. */
function licenses(): Plugin {
  return {
    name: "antiphon-licenses",
    generateBundle(_, bundle) {
      const folders = new Set<string>();
      for (const chunk of Object.values(bundle)) {
        const ids = chunk.type === "chunk" ? chunk.moduleIds : [];
        for (const id of ids) {
          const folder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0];
          if (folder) folders.add(folder);
        }
      }
      if (folders.size === 0) return;
      const texts = [...folders].sort().map((folder) => {
        const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, string>;
        const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((file) => join(folder, file)).find(existsSync);
        if (!file) throw new Error(`${name} brings no licence`);
        return `${name} ${version}\n\n${readFileSync(file, "utf8").trim()}\n`;
      });
      this.emitFile({ type: "asset", fileName: `${name}.licenses.txt`, source: texts.join("\n\n") });
    },
  };
}

const client = name === "antiphon";

export default defineConfig({
  root: here,
  publicDir: false,
  logLevel: "warn",
  plugins: client ? [] : [html(), licenses()],
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
        postBanner: `// Built from web/${client ? "src" : `pages/${name}`} by \`npm run build\` in web.`,
      },
    },
  },
});
