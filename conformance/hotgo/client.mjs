// The client that hotgo's pages have, written anew from what it does: one socket, the token in the URL, a ping after 5 s without
// news, closing where another 5 s bring none, a new socket 1 s later, for ever. Nothing here is kinder than the original: it looks at
// no close code, reads each message with JSON.parse as a whole, and loses its tags with the socket.
import WebSocket from 'ws';

const HEARTBEAT = 5_000;
const RECONNECT = 1_000;
const RESEND = 200;
const RESEND_AFTER_THROW = 100;

export class HotgoClient {
  // `token` gives the token that the page has stored, if it has one. `options` are those of `ws`, such as the page's origin.
  constructor(address, token, options = {}) {
    this.address = address;
    this.token = token;
    this.options = options;
    this.handlers = new Map();
    this.loggedOut = false;
    this.notices = [];
    // What a test looks at. The page has no such thing.
    this.frames = [];
    this.opened = 0;
    this.closes = [];
    this.refusals = [];
    this.pings = [];
    this.mutes = 0;
    this.waiting = [];
    this.on('ping', () => {});
    this.on('kick', () => this.logout());
    this.on('notice', (message) => this.notices.push(message.data));
    this.start();
  }

  on(event, handler) {
    // One handler for an event: a later one takes its place.
    this.handlers.set(event, handler);
  }

  start() {
    if (this.loggedOut) return;
    const token = this.token();
    if (!token) {
      // The page looks once more, and never again.
      if (this.locked) return;
      this.locked = true;
      this.later(() => this.start(), RECONNECT);
      return;
    }
    const socket = new WebSocket(`${this.address}?authorization=${token}`, undefined, this.options);
    this.socket = socket;
    socket.on('open', () => {
      this.opened += 1;
      this.beat();
      this.changed();
    });
    socket.on('message', (data, isBinary) => this.received(String(data), isBinary));
    socket.on('unexpected-response', (_, response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        this.refusals.push({ status: response.statusCode, headers: response.headers, body: String(Buffer.concat(chunks)) });
        this.changed();
        this.over(socket, 1006);
      });
    });
    socket.on('error', () => {
      // A browser says nothing about what went wrong; `close` follows.
    });
    socket.on('close', (code) => this.over(socket, code));
  }

  over(socket, code) {
    if (socket !== this.socket) return;
    this.socket = undefined;
    clearTimeout(this.heartbeat);
    clearTimeout(this.patience);
    this.closes.push({ code, at: Date.now() });
    this.changed();
    this.later(() => this.start(), RECONNECT);
  }

  // 5 s without a message that can be read: ask. Another 5 s: give up.
  beat() {
    clearTimeout(this.heartbeat);
    clearTimeout(this.patience);
    this.heartbeat = setTimeout(() => {
      this.pings.push(Date.now());
      this.socket?.send('{"event":"ping"}');
      this.patience = setTimeout(() => {
        this.mutes += 1;
        this.socket?.close();
      }, HEARTBEAT);
    }, HEARTBEAT);
  }

  received(text, isBinary) {
    this.frames.push({ text, isBinary, at: Date.now() });
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      this.changed();
      return;
    }
    this.beat();
    this.handlers.get(message.event)?.(message);
    this.handlers.get('*')?.(message);
    this.changed();
  }

  send(event, data = null, retry = true) {
    if (this.socket?.readyState === WebSocket.OPEN) {
      try {
        this.socket.send(JSON.stringify({ event, data }));
      } catch {
        this.later(() => this.send(event, data, retry), RESEND_AFTER_THROW);
      }
    } else if (retry) {
      this.later(() => this.send(event, data, retry), RESEND);
    }
  }

  // The page tells the server over HTTP, clears its tabs and loads itself anew, on the page for signing in.
  logout() {
    this.loggedOut = true;
    this.changed();
  }

  later(work, milliseconds) {
    const timer = setTimeout(work, milliseconds);
    timer.unref();
  }

  // For tests: ends the page.
  leave() {
    this.loggedOut = true;
    clearTimeout(this.heartbeat);
    clearTimeout(this.patience);
    this.socket?.terminate();
    this.changed();
  }

  changed() {
    this.waiting = this.waiting.filter((look) => !look());
  }

  // For tests: resolves with what `look` finds, once it finds something.
  until(what, look, limit = 10_000) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const last = this.frames.slice(-2).map((frame) => frame.text);
        reject(new Error(`${what}: not within ${limit} ms; the last frames: ${JSON.stringify(last)}, closes: ${JSON.stringify(this.closes)}`));
      }, limit);
      const attempt = () => {
        const found = look();
        if (found === undefined || found === false) return false;
        clearTimeout(timer);
        resolve(found);
        return true;
      };
      if (!attempt()) this.waiting.push(attempt);
    });
  }

  // For tests: the first frame from `from` on whose event is this.
  reply(event, from = 0, limit) {
    return this.until(`an event ${event}`, () => this.frames.slice(from).find(({ text }) => {
      try {
        return JSON.parse(text).event === event;
      } catch {
        return false;
      }
    }), limit);
  }
}
