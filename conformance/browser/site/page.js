// What a test needs of a page that uses the client: clients by name, and all that they have said.
import * as antiphon from '/antiphon.js';

const clients = {};

// A client that keeps its states and its events. `ask` has the token come from the test, and counts how often.
window.make = (name, url, { ask = false, ...options } = {}) => {
  const kept = { states: [], events: [], asked: 0 };
  const token = () => { kept.asked += 1; return window.giveToken(name, kept.asked); };
  kept.client = new antiphon.Client(url, ask ? { ...options, token } : options);
  kept.client.on('$state', (state) => kept.states.push({ ...state, at: performance.now() }));
  kept.client.on('*', (data, message) => { if (message) kept.events.push({ event: message.event, ch: message.ch, data }); });
  clients[name] = kept;
  kept.client.connect();
};
window.kept = (name) => clients[name];
// How a promise ends: its value, or its error as plain data.
window.outcome = async (promise) => {
  try {
    return { value: await promise };
  } catch (error) {
    const { name, message, code, temporary, retryAfter } = error;
    return { error: { name, message, code, temporary, retryAfter, ours: error instanceof antiphon.AntiphonError } };
  }
};
window.ready = true;
