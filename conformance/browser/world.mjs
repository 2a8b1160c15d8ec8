// A server with tokens, a backend behind it, a site of another origin that uses the client, and what a test does with one client.
import { randomBytes } from 'node:crypto';

import { backend, open as openPage, read, realtime, until } from './support.mjs';

export async function world(more = {}) {
  const complaints = [];
  let open;
  const gate = new Promise((resolve) => { open = resolve; });
  const there = {
    complaints,
    // By the client's name: what gives its next token.
    tokens: {},
    recorded: () => there.site.calls.filter((call) => call.method === 'test/record').map((call) => call.data),
    // From now on `test/slow` is answered.
    release: () => open({ result: {} }),
  };
  const text = (path) => read(path).toString();
  there.site = await backend({
    '/': text('site/index.html'),
    '/page.js': text('site/page.js'),
    '/worker.js': text('site/worker.js'),
    '/antiphon.js': text('../../crates/server/pages/antiphon.js'),
  }, {
    'test/echo': ({ data }) => ({ result: { data } }),
    'test/record': ({ data }) => ({ result: { data } }),
    'test/fail': () => ({ error: { code: 1234, message: 'not today', temporary: true } }),
    'test/slow': () => gate,
  });
  there.config = {
    ...more,
    server: { origins: [there.site.origin], reconnect_spread: '1s', ...more.server },
    'hooks.rpc': { url: `${there.site.origin}/rpc`, timeout: '30s' },
    webhooks: { url: `${there.site.origin}/webhooks`, secret: randomBytes(24).toString('hex'), batch_delay: '5ms' },
  };
  there.server = await realtime(there.config);
  there.page = async (browser, name, rest = {}) => {
    const page = await openPage(browser, null, { name, complaints, ...rest });
    await page.exposeFunction('giveToken', (name, asked) => there.tokens[name](asked));
    await page.goto(there.site.origin);
    await page.waitForFunction(() => window.ready);
    return page;
  };
  there.close = async () => {
    await there.server.stop();
    there.site.close();
  };
  return there;
}

// One client of a page, by its name. What runs in the page is given `{ client, states, events, asked }`.
export function own(page, name) {
  const run = (work, argument) => page.evaluate(`(${work})(window.kept(${JSON.stringify(name)}), ${JSON.stringify(argument) ?? 'undefined'})`);
  const states = async (whole = false) => {
    const kept = await run(({ states }) => states);
    return whole ? kept : kept.map(({ state }) => state);
  };
  return {
    page,
    run,
    states,
    make: (url, options) => page.evaluate(([name, url, options]) => window.make(name, url, options), [name, url, options]),
    state: (wanted) => until(`${name} is ${wanted}`, async () => await run(({ client }) => client.state) === wanted),
    // A state that has been, with its details.
    stateThat: (is) => until(`a state of ${name}`, async () => (await states(true)).findLast(is)),
    ask: (event, data) => page.evaluate(([name, event, data]) => window.outcome(window.kept(name).client.request(event, data)), [name, event, data]),
    events: async (event) => (await run(({ events }) => events)).filter((kept) => kept.event === event).map(({ data }) => data),
    // The data of all events of this name, once there is one.
    heard(event) {
      return until(`${name} hears ${event}`, async () => {
        const all = await this.events(event);
        return all.length > 0 && all;
      });
    },
  };
}
