// Prints how large the client is, and fails where it is larger than it may be.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LARGEST = 6144;

const code = readFileSync("dist/index.js");
const size = gzipSync(code, { level: 9 }).length;
console.log(`dist/index.js: ${code.length} bytes, ${size} gzipped, of ${LARGEST}`);
if (size > LARGEST) process.exit(1);
