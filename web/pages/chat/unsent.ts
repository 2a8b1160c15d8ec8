// What was written and has not arrived yet: each message shows what becomes of it.

import { AntiphonError } from "../../src/index";
import { $, make } from "../shared/dom";
import { chat, words } from "./page";

/** Most messages that wait; then the field keeps what is typed. */
const MAX_UNSENT = 50;
/** A message that arrives within this time is not shown as one on its way. */
const SHOWN_AFTER = 400;

interface Message {
  room: string;
  text: string;
  item: HTMLElement;
}

type Send = (room: string, text: string) => Promise<unknown>;

const unsent = new Set<Message>();

export const isFull = (): boolean => unsent.size >= MAX_UNSENT;

/** Posts a message and follows it until it is there, or refused. */
export function post(send: Send, room: string, text: string): void {
  const message = { room, text, item: make("li") };
  unsent.add(message);
  const status = words.put(make("span", "status"), chat.open ? "sending" : "offline");
  message.item.append(status, make("span", "text", text));
  const show = (): void => {
    if (!unsent.has(message)) return;
    $("unsent").append(message.item);
    $("unsent").hidden = false;
  };
  setTimeout(show, chat.open ? SHOWN_AFTER : 0);
  const again = (): void => {
    settle(message);
    post(send, room, text);
  };
  send(room, text).then(
    () => settle(message),
    (error: unknown) => {
      if (!unsent.has(message)) return;
      const wait = error instanceof AntiphonError ? error.retryAfter : undefined;
      if (wait) {
        setTimeout(() => unsent.has(message) && again(), wait);
        return;
      }
      const lost = error instanceof AntiphonError && (error.code === "lost" || error.code === "timeout");
      status.classList.add("failed");
      words.put(status, lost ? "unconfirmed" : "refused", { reason: error instanceof Error ? error.message : "" });
      const button = words.put(make("button", "quiet"), "again");
      button.type = "button";
      button.addEventListener("click", () => {
        again();
        $("message").focus();
      });
      message.item.append(button);
      show();
    },
  );
}

/** One of this page's own has come back to it: it is there. */
export function arrived(room: string, text: string): void {
  for (const message of unsent) {
    if (message.room !== room || message.text !== text) continue;
    settle(message);
    return;
  }
}

/** Nothing for this room is sent any more. */
export function forget(room: string): void {
  for (const message of unsent) if (message.room === room) settle(message);
}

function settle(message: Message): void {
  unsent.delete(message);
  message.item.remove();
  $("unsent").hidden = unsent.size === 0;
}
