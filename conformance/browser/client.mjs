// The client in a page of another origin, against `serve --config` with tokens: a server that dies, stops, throws out; tokens that
// end; what was sent meanwhile.
import assert from 'node:assert/strict';

import { check, losing, until } from './support.mjs';
import { own, world } from './world.mjs';

export async function client(browser) {
  const there = await world();
  await requests(browser, there);
  await lives(browser, there);
  await tokens(browser, there);
  await endings(browser, there);
  await there.close();
}

async function requests(browser, there) {
  const { site, server } = there;
  const page = await there.page(browser, 'requests');
  const ada = own(page, 'ada');

  await check('client: it connects from a page of another origin, as the user of its token', async () => {
    await ada.make(server.url, { token: await server.tokenOfCommand('ada') });
    await ada.state('open');
    assert.equal((await ada.run(({ client }) => client.session)).user, 'ada');
    assert.deepEqual(await ada.states(), ['connecting', 'open']);
  });
  await check('client: a request is answered, a reply is never an event', async () => {
    const data = { text: 'ä€😀 </script>', list: [1, [2]], nothing: null };
    assert.deepEqual(await ada.ask('test/echo', data), { value: data });
    assert.deepEqual(await ada.events('test/echo'), []);
  });
  await check('client: errors are typed: of the backend, of the server, and whether they pass', async () => {
    const failed = await ada.ask('test/fail', {});
    assert.deepEqual([failed.error.code, failed.error.temporary, failed.error.ours], [1234, true, true]);
    const unknown = await ada.ask('test/unknown', {});
    assert.deepEqual([unknown.error.code, unknown.error.temporary], [104, false]);
  });
  await check('client: a request ends when its time is over, and when it is given up; what comes later harms nobody', async () => {
    const late = await ada.run(({ client }) => window.outcome(client.request('test/slow', 'late', { timeout: 100 })));
    assert.deepEqual([late.error.ours, late.error.code], [true, 'timeout']);
    const given = await ada.run(({ client }) => {
      const controller = new AbortController();
      const outcome = window.outcome(client.request('test/slow', 'given up', { signal: controller.signal, timeout: 60_000 }));
      controller.abort();
      return outcome;
    });
    assert.equal(given.error.name, 'AbortError');
    there.release();
    // Requests of one connection are handled in order: after this reply those of both above have come.
    assert.deepEqual(await ada.ask('test/echo', 1), { value: 1 });
    assert.deepEqual(await ada.events('test/slow'), []);
  });
  await check('client: it joins, hears what is published once, lists who is there, publishes and leaves', async () => {
    await ada.run(({ client }) => client.join('room:1'));
    await server.api('publish', { channel: 'room:1', data: 'from the backend' });
    assert.deepEqual(await ada.heard('message'), ['from the backend']);
    const presence = await ada.run(({ client }) => client.presence('room:1'));
    assert.match(JSON.stringify(presence), /"ada"/);
    await ada.run(({ client }) => client.publish('room:1', 'said', { by: 'ada' }));
    assert.deepEqual(await ada.heard('said'), [{ by: 'ada' }]);
    await ada.run(({ client }) => client.leave('room:1'));
    await server.api('publish', { channel: 'room:1', data: 'too late' });
    assert.deepEqual(await ada.ask('test/echo', 2), { value: 2 });
    assert.deepEqual(await ada.heard('message'), ['from the backend']);
  });
  await check('client: two tabs of one user hear the same', async () => {
    const second = own(await there.page(browser, 'second tab'), 'twin');
    await second.make(server.url, { token: await server.token('ada') });
    await second.state('open');
    await server.api('send', { target: { user: 'ada' }, event: 'notice', data: 'on every device' });
    for (const tab of [ada, second]) assert.deepEqual(await tab.heard('notice'), ['on every device']);
    await second.page.context().close();
  });
  await check('client: a page that is left closes its connection at once, and says so', async () => {
    site.events.length = 0;
    await page.goto('about:blank');
    const { code } = await site.end('ada');
    assert.ok([1000, 1001].includes(code), `closed with ${code}`);
  });
  await page.context().close();
}

async function lives(browser, there) {
  const { site, server } = there;
  const page = await there.page(browser, 'lives');
  const eve = own(page, 'eve');

  await check('client: after a server was killed and started again it is back in its rooms', async () => {
    await eve.make(server.url, { token: await server.token('eve') });
    await eve.run(async ({ client }) => { for (const room of ['room:1', 'room:2', 'room:3']) await client.join(room); });
    await eve.run(({ client }) => client.leave('room:2'));
    await losing([page], async () => {
      await server.kill();
      // It may already be trying again.
      const { code } = await eve.stateThat(({ state }) => state === 'waiting');
      assert.equal(code, 1006);
    });
  });
  await check('client: what was sent without a connection arrives in order, once, when there is one again', async () => {
    site.calls.length = 0;
    // Sends and requests share one queue.
    const replies = await eve.run(({ client }) => {
      window.replies = [];
      for (let turn = 0; turn < 30; turn += 1) {
        if (turn % 3 === 0) window.replies.push(window.outcome(client.request('test/record', turn, { timeout: 30_000 })));
        else client.send('test/record', turn);
      }
      return window.replies.length;
    });
    await losing([page], async () => {
      await server.start();
      await eve.state('open');
    });
    const answers = await eve.run(() => Promise.all(window.replies));
    assert.equal(answers.length, replies);
    assert.deepEqual(answers.map((answer) => answer.value), answers.map((_, turn) => turn * 3));
    await until('all have arrived', () => site.calls.length >= 30);
    assert.deepEqual(there.recorded(), [...Array(30).keys()]);
  });
  await check('client: it is back in the rooms that it had not left, and hears once what is said there', async () => {
    assert.deepEqual(await eve.run(({ client }) => [...client.tags].sort()), ['room:1', 'room:3']);
    for (const room of ['room:1', 'room:2', 'room:3']) await server.api('publish', { channel: room, data: `again in ${room}` });
    await eve.ask('test/echo', 3);
    assert.deepEqual(await eve.heard('message'), ['again in room:1', 'again in room:3']);
  });
  await check('client: what is on its way when a server is killed arrives at most once, and nothing behind it overtakes', async () => {
    site.calls.length = 0;
    await losing([page], async () => {
      await eve.run(({ client }) => { for (let turn = 0; turn < 100; turn += 1) client.send('test/record', turn); });
      await until('some have arrived', () => there.recorded().length > 3);
      await server.kill();
      await eve.state('waiting');
      await eve.run(({ client }) => { for (let turn = 100; turn < 120; turn += 1) client.send('test/record', turn); });
      await server.start();
      await eve.state('open');
    });
    await until('the last has arrived', () => there.recorded().includes(119));
    const arrived = there.recorded();
    assert.deepEqual(arrived, [...new Set(arrived)].sort((one, other) => one - other), 'in order, none twice');
    assert.deepEqual(arrived.filter((turn) => turn >= 100), [...Array(20).keys()].map((turn) => turn + 100), 'what was queued is all there');
  });
  await check('client: without a network it waits, and with one again it is back at once', async () => {
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket));
    await losing([page], async () => {
      await page.context().setOffline(true);
      await page.waitForFunction(() => !navigator.onLine);
      await server.kill();
      await eve.state('waiting');
      await server.start();
      // The wait is not over, and it does not try: the network says so itself.
      const before = sockets.length;
      await page.context().setOffline(false);
      const from = await page.evaluate(() => performance.now());
      await eve.state('open');
      const { at } = (await eve.states(true)).at(-1);
      assert.ok(at - from < 2_000, `${Math.round(at - from)} ms`);
      assert.ok(sockets.length > before);
    });
  });
  await check('client: a server that stops names a time, another for each client, and all come back', async () => {
    const others = ['one', 'two', 'three', 'four'].map((name) => own(page, name));
    for (const other of others) await other.make(server.url, { token: await server.token('eve') });
    for (const other of others) await other.state('open');
    await losing([page], async () => {
      assert.equal(await server.stop(), 0);
      const delays = [];
      for (const other of [eve, ...others]) {
        const waiting = await other.stateThat((state) => state.state === 'waiting' && state.code === 1012);
        delays.push(waiting.delay);
      }
      assert.ok(new Set(delays).size > 2, `not spread: ${delays}`);
      assert.ok(delays.every((delay) => delay >= 0), `${delays}`);
      await server.start();
      for (const other of [eve, ...others]) await other.state('open');
    });
    for (const other of others) await other.run(({ client }) => client.disconnect());
  });
  await page.context().close();
}

async function tokens(browser, there) {
  const { server } = there;
  const page = await there.page(browser, 'tokens');

  await check('client: a token is refreshed before it is over, and the connection stays', async () => {
    const bob = own(page, 'bob');
    const given = [];
    there.tokens.bob = () => { given.push(Date.now()); return server.token('bob', 6); };
    await bob.make(server.url, { ask: true });
    await bob.state('open');
    // Longer than the first token lives: only then it is seen that the second one counts.
    await until('the first token is over', () => Date.now() > given[0] + 6_100);
    await bob.state('open');
    assert.ok(given.length >= 2);
    assert.deepEqual(await bob.states(), ['connecting', 'open']);
    assert.deepEqual(await bob.ask('test/echo', 'still here'), { value: 'still here' });
    await bob.run(({ client }) => client.disconnect());
  });
  await check('client: a token that is over when it connects again is replaced', async () => {
    const late = own(page, 'late');
    let given = 0;
    there.tokens.late = () => { given += 1; return server.token('late', given === 1 ? 4 : 3_600); };
    await losing([page], async () => {
      await late.make(server.url, { ask: true });
      await late.state('open');
      await server.kill();
      await late.state('waiting');
      const end = Date.now() + 4_100;
      await until('the token is over', () => Date.now() > end);
      await server.start();
      await late.run(({ client }) => client.connect());
      await late.state('open');
    });
    assert.ok(given >= 2);
    await late.run(({ client }) => client.disconnect());
  });
  await check('client: a refused token ends the attempts; a token that comes later connects', async () => {
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket.url()));
    const mallory = own(page, 'mallory');
    await losing([page], async () => {
      await mallory.make(server.url, { token: 'x'.repeat(40) });
      await mallory.state('closed');
    });
    const tried = sockets.length;
    const last = (await mallory.states(true)).at(-1);
    assert.ok(last.code, JSON.stringify(last));
    // Longer than the first wait of a client that would try again.
    const end = Date.now() + 1_500;
    await until('a while has passed', () => Date.now() > end);
    assert.equal(sockets.length, tried);
    const token = await server.token('mallory');
    await mallory.run(({ client }, token) => client.setToken(token), token);
    await mallory.state('open');
    assert.equal((await mallory.run(({ client }) => client.session)).user, 'mallory');
    await mallory.run(({ client }) => client.disconnect());
  });
  await check('client: a login that was revoked does not come back with its token', async () => {
    const token = await server.token('revoked');
    const revoked = own(page, 'revoked');
    await revoked.make(server.url, { token });
    await revoked.state('open');
    await server.api('revoke', { user: 'revoked' });
    assert.equal((await revoked.stateThat(({ state }) => state === 'closed')).code, 3510);
    await revoked.run(({ client }, token) => client.setToken(token), token);
    await until('it is refused', async () => (await revoked.states()).filter((state) => state === 'closed').length === 2);
    assert.deepEqual(await revoked.states(), ['connecting', 'open', 'closed', 'connecting', 'closed']);
  });
  await page.context().close();
}

async function endings(browser, there) {
  const { server } = there;
  const page = await there.page(browser, 'endings');

  await check('client: who is kicked hears why, and stays away', async () => {
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket.url()));
    const bob = own(page, 'bob');
    await bob.make(server.url, { token: await server.token('bob') });
    await bob.state('open');
    await server.api('kick', { user: 'bob', reason: 'spam' });
    const closed = await bob.stateThat(({ state }) => state === 'closed');
    assert.deepEqual([closed.code, closed.reason], [3503, 'spam']);
    const end = Date.now() + 1_500;
    await until('a while has passed', () => Date.now() > end);
    assert.equal(sockets.length, 1);
    const pending = await bob.ask('test/echo', 1);
    assert.equal(pending.error.code, 'closed', 'a request fails at once where nobody will connect');
  });
  await check('client: on hotgo\'s wire it joins, asks, hears, and stays away when kicked', async () => {
    const v1 = own(page, 'v1');
    await v1.make(server.url, { protocol: 'v1', token: await server.token('v1') });
    await v1.state('open');
    await v1.run(({ client }) => client.join('room:v1'));
    assert.deepEqual(await v1.ask('test/echo', { text: 'hotgo' }), { value: { text: 'hotgo' } });
    await server.api('publish', { channel: 'room:v1', data: { text: 'to v1' } });
    assert.deepEqual(await v1.heard('message'), [{ text: 'to v1' }]);
    await server.api('kick', { user: 'v1' });
    assert.equal((await v1.stateThat(({ state }) => state === 'closed')).code, 3503);
  });
  await page.context().close();
}
