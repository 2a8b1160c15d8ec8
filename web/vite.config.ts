// Builds the library: dist/index.js for `import`, dist/cjs/index.js for `require`, both minified. And its tests.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  build: {
    target: "es2022",
    minify: true,
    sourcemap: true,
    // Vite leaves white space in libraries for the sake of bundlers; browsers that take the file as it is do not.
    rolldownOptions: { output: { minify: true, comments: { legal: false } } },
    lib: {
      entry: "src/index.ts",
      formats: ["es", "cjs"],
      fileName: (format) => (format === "es" ? "index.js" : "cjs/index.js"),
    },
  },
  resolve: { alias: { antiphon: fileURLToPath(new URL("src/index.ts", import.meta.url)) } },
  test: {
    // Nothing waits for real time: this is for machines that do other things, too.
    testTimeout: 30_000,
    include: ["test/**/*.test.{ts,tsx}"],
    coverage: {
      include: ["src/**"],
      exclude: ["src/types.ts"],
      thresholds: { lines: 100, statements: 100, functions: 100, branches: 100 },
    },
  },
});
