// Speaks antiphon.v2.json: requests and their replies, events, and a connection that comes back by itself.
// It stands alone; take it into a page of your own.

const PROTOCOL = "antiphon.v2.json";
// Most requests that wait for a connection; further ones fail at once.
const MAX_WAITING = 50;
// Most requests that wait for their replies; further ones fail at once.
const MAX_ASKED = 200;
// How long a reply may take before the request fails.
const REPLY_TIMEOUT = 15_000;
// The wait before an attempt is random, up to a bound that doubles from the first of these to the second.
const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
// A connection that has lasted this long was a good one: waits begin from the shortest again.
const GOOD_AFTER = 10_000;
// The server breaks a silence after `ping` seconds; this much later it is taken for dead.
const GRACE = 10_000;

// Whether a close code says to connect again.
export function reconnects(code) {
  if (code >= 3000 && code <= 4999) return code % 1000 < 500;
  return [1001, 1006, 1011, 1012, 1013].includes(code);
}

// Why a request failed: the server's code and words; `offline`, `busy` and `lost` are this side's own.
export class Refused extends Error {
  constructor(code, message, retryAfter = null) {
    super(message);
    Object.assign(this, { code, retryAfter });
  }
}

// on.state(name, details): "connecting", "open" (details: the session), "waiting" ({ code, reason, delay }) or
// "closed" ({ code, reason }). on.event({ event, ch, offset, data }): what the server sends.
export class Connection {
  #url;
  #on;
  #socket = null;
  #session = null;
  #nextId = 1;
  #replies = new Map();
  #waiting = [];
  #attempt = 0;
  #openedAt = 0;
  #heardAt = 0;
  #told = null;
  #retry = 0;
  #watch = 0;

  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    this.connect();
  }

  // Connects now, also where it would have waited.
  connect() {
    clearTimeout(this.#retry);
    if (this.#socket) return;
    this.#on.state("connecting", {});
    const socket = new WebSocket(this.#url, PROTOCOL);
    this.#socket = socket;
    this.#told = null;
    socket.addEventListener("message", (event) => this.#received(socket, event.data));
    socket.addEventListener("close", (event) => this.#ended(socket, event.code, event.reason));
  }

  // Ends it, whatever it is doing; connect() begins anew.
  close() {
    clearTimeout(this.#retry);
    this.#ended(this.#socket, 1000, "");
  }

  // Asks the server and resolves with the data of its reply. Without a connection the request waits for one.
  request(event, data) {
    return new Promise((resolve, reject) => {
      const request = { event, data, resolve, reject };
      if (this.#session && this.#replies.size < MAX_ASKED) this.#ask(request);
      else if (this.#session) reject(new Refused("busy", "too many requests wait for their replies"));
      else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(request);
      else reject(new Refused("offline", "too much waits for the connection"));
    });
  }

  // Tells the server something that is worth nothing later.
  tell(event, data) {
    if (this.#session) this.#write({ event, data });
  }

  #write(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #ask(request) {
    const id = this.#nextId++;
    request.timer = setTimeout(() => {
      this.#replies.delete(id);
      request.reject(new Refused("lost", "no reply came in time"));
    }, REPLY_TIMEOUT);
    this.#replies.set(id, request);
    this.#write({ event: request.event, id, data: request.data });
  }

  #received(socket, text) {
    if (socket !== this.#socket) return;
    this.#heardAt = Date.now();
    const message = JSON.parse(text);
    if (message.event === undefined) {
      // A heartbeat.
      socket.send("{}");
    } else if (message.id !== undefined) {
      const request = this.#replies.get(message.id);
      this.#replies.delete(message.id);
      clearTimeout(request?.timer);
      if (message.code === 0) request?.resolve(message.data);
      else request?.reject(new Refused(message.code, message.errorMsg, message.retryAfterMs));
    } else if (message.event === "$connected") {
      this.#opened(message.data);
    } else if (message.event === "$disconnect") {
      this.#told = message.data;
    } else {
      this.#on.event(message);
    }
  }

  #opened(session) {
    this.#session = session;
    this.#openedAt = Date.now();
    const limit = session.ping * 1000 + GRACE;
    const watched = this.#socket;
    this.#watch = setInterval(() => {
      // Nobody may answer a Close either: the end is not waited for.
      if (Date.now() - this.#heardAt > limit) this.#ended(watched, 1006, "no sign of life");
    }, 5000);
    // First the application enters its channels, then goes what has waited: replies come in this order.
    this.#on.state("open", session);
    for (const request of this.#waiting.splice(0)) this.#ask(request);
  }

  #ended(socket, code, reason) {
    if (socket !== this.#socket) return;
    socket?.close(1000);
    clearInterval(this.#watch);
    if (this.#session && Date.now() - this.#openedAt > GOOD_AFTER) this.#attempt = 0;
    this.#socket = null;
    this.#session = null;
    for (const request of this.#replies.values()) {
      clearTimeout(request.timer);
      request.reject(new Refused("lost", "the connection ended before the reply"));
    }
    this.#replies.clear();
    if (reconnects(code)) {
      this.#wait(code, reason);
      return;
    }
    for (const request of this.#waiting.splice(0)) request.reject(new Refused("offline", "the connection is closed"));
    this.#on.state("closed", { code, reason });
  }

  #wait(code, reason) {
    const bound = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempt);
    this.#attempt += 1;
    const delay = Math.max(Math.random() * bound, Math.min(this.#told?.delayMs ?? 0, LONGEST_WAIT));
    this.#retry = setTimeout(() => this.connect(), delay);
    this.#on.state("waiting", { code, reason, delay });
  }
}
