// Node's ws: an echo, and a chat that sends to every client.
import { readFileSync } from "node:fs";
import { createServer as http } from "node:http";
import { createServer as https } from "node:https";
import { WebSocketServer } from "ws";
import { longest, options } from "./options.mjs";

const { port, mode, deflate, cert, key } = options();
const server = cert ? https({ cert: readFileSync(cert), key: readFileSync(key) }) : http();
const fresh = deflate === "fresh";
const sockets = new WebSocketServer({
  server,
  maxPayload: longest,
  perMessageDeflate: deflate === "off"
    ? false
    : { threshold: 0, serverNoContextTakeover: fresh, clientNoContextTakeover: fresh },
});
sockets.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (message, binary) => {
    if (mode === "echo") return socket.send(message, { binary });
    for (const client of sockets.clients) client.send(message, { binary });
  });
});
server.listen({ port, host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(`listening on ${cert ? "wss" : "ws"}://127.0.0.1:${server.address().port}/`);
});
