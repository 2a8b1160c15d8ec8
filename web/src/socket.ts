// Opens sockets, on any platform that has them.

import { SUBPROTOCOLS } from "./generated/protocol.js";
import type { Options } from "./types.js";

/** What the client uses of a WebSocket. */
export interface Socket {
  readonly protocol: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(text: string): void;
  close(code: number): void;
}

/** Where the token travels. */
export function placeOf(options: Options): string {
  return options.tokenIn ?? (options.protocol === "v1" ? "query" : "message");
}

/** A new socket; throws where the address is none, or the platform has no sockets. */
export function openSocket(url: string | URL, token: string | null | undefined, options: Options): Socket {
  const Constructor = (options.WebSocket ?? globalThis.WebSocket) as new (url: string, protocols: string[]) => Socket;
  if (!Constructor) throw new TypeError("there is no WebSocket here: give one as the option `WebSocket`");
  const target = new URL(url, globalThis.location?.href);
  target.protocol = target.protocol.replace("http", "ws");
  const place = placeOf(options);
  // hotgo's own server knows no subprotocols: on v1 none is offered without need.
  const protocols: string[] = options.protocol === "v1" ? [] : [SUBPROTOCOLS[0]];
  if (token && place === "query") target.searchParams.set("authorization", token);
  if (token && place === "protocol") {
    if (!protocols[0]) protocols.push(SUBPROTOCOLS[1]);
    protocols.push(`antiphon.token.${inProtocol(token)}`);
  }
  return new Constructor(target.href, protocols);
}

/** A JWT goes as it is, any other text as base64url. */
function inProtocol(token: string): string {
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return token;
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  return btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}
