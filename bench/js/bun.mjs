// Bun's own server: an echo, and its own `publish`.
import { fail, longest, options } from "./options.mjs";

const { port, mode, deflate, cert, key } = options();
if (!globalThis.Bun) fail("this peer runs on Bun");
const compress = deflate !== "off";
// Bun's compressor forgets by itself where it is shared; a dedicated one keeps its context.
const compressor = deflate === "takeover" ? "dedicated" : "shared";
const server = Bun.serve({
  port,
  hostname: "127.0.0.1",
  tls: cert ? { cert: Bun.file(cert), key: Bun.file(key) } : undefined,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("a WebSocket is expected", { status: 426 })),
  websocket: {
    maxPayloadLength: longest,
    backpressureLimit: longest,
    perMessageDeflate: compress ? { compress: compressor, decompress: compressor } : false,
    open: (socket) => {
      if (mode === "broadcast") socket.subscribe("all");
    },
    message: (socket, message) => {
      if (mode === "echo") socket.send(message, compress);
      else server.publish("all", message, compress);
    },
  },
});
console.log(`listening on ${cert ? "wss" : "ws"}://127.0.0.1:${server.port}/`);
