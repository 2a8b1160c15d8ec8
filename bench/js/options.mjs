// The command line that every peer has: `--port N --mode M --deflate D --cert FILE --key FILE`.
import { parseArgs } from "node:util";

const text = { type: "string" };

export function options() {
  const { values } = parseArgs({
    options: {
      port: { ...text, default: "0" },
      mode: { ...text, default: "echo" },
      deflate: { ...text, default: "off" },
      cert: text,
      key: text,
    },
  });
  if (!["echo", "broadcast"].includes(values.mode)) fail(`--mode ${values.mode} is not echo or broadcast`);
  if (!["off", "fresh", "takeover"].includes(values.deflate)) fail(`--deflate ${values.deflate} is not known`);
  return { ...values, port: Number(values.port) };
}

export function fail(why) {
  console.error(`error: ${why}`);
  process.exit(2);
}

// The longest message that a peer takes.
export const longest = 16 * 1024 * 1024;
