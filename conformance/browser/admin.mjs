// The admin page against a real server with live clients: what it shows is so, and what it does takes effect on their sockets.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import { look } from './looks.mjs';
import { check, freePort, losing, open, until } from './support.mjs';
import { own, world } from './world.mjs';

// What must never reach the page. They are told apart from everything else by their form.
const secret = (name) => `${name}-${randomBytes(18).toString('hex')}`;

export async function admin(browser) {
  const port = await freePort();
  const token = secret('admin-token');
  const there = await world({
    admin: { listen: `127.0.0.1:${port}`, token },
    hooks: { secret: secret('hooks-secret') },
    metrics: { token: secret('metrics-token') },
  });
  const complaints = [];
  const context = {
    browser, there, token, complaints, address: `http://127.0.0.1:${port}/`,
    secrets: () => [token, there.server.secret, there.server.key, there.config.hooks.secret, there.config.metrics.token, there.config.webhooks.secret],
  };
  await login(context);
  await people(context);
  await numbers(context);
  await lists(context);
  await forceOffline(context);
  await sending(context);
  await tracing(context);
  await events(context);
  await settings(context);
  await outside(context);
  await there.close();
}

const test = (page, id) => page.getByTestId(id);
const go = (page, hash) => page.evaluate((hash) => { location.hash = hash; }, hash);

// Logs a page in, and waits until its socket is open.
export async function enter(page, address, token) {
  if (address) await page.goto(address);
  await test(page, 'login-token').fill(token);
  await test(page, 'login-submit').click();
  await page.locator('[data-testid=state][data-state=open]').waitFor();
}

async function login(context) {
  const { browser, complaints, address, token } = context;
  const page = context.page = await open(browser, null, { name: 'admin', complaints });
  context.frames = [];
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => context.frames.push(String(payload))));
  await check('admin: without a session there is a login, and nothing else', async () => {
    const response = await page.goto(address);
    assert.ok(response.headers()['content-security-policy']);
    await test(page, 'login-form').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), 'login-token');
    for (const path of ['socket', 'session']) {
      const { status } = await fetch(new URL(path, address));
      assert.ok([401, 400, 426].includes(status), `${path}: ${status}`);
    }
  });
  await look(page, 'admin-login');
  await check('admin: a wrong token is refused, and the page says so', async () => {
    await losing([page], async () => {
      await test(page, 'login-token').fill('not the token at all');
      await test(page, 'login-submit').click();
      await test(page, 'login-message').filter({ hasText: /\S/ }).waitFor();
    });
    assert.equal((await page.context().cookies()).length, 0);
  });
  await look(page, 'admin-login-wrong');
  await check('admin: the right token leads in; its cookie is out of reach of scripts and other sites', async () => {
    await enter(page, null, token);
    const [cookie, ...more] = await page.context().cookies();
    assert.deepEqual(more, []);
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path], ['antiphon_admin', true, 'Strict', '/']);
    assert.equal(await page.evaluate(() => document.cookie), '');
  });
  await check('admin: a page that is loaded again is still in', async () => {
    await page.reload();
    await page.locator('[data-testid=state][data-state=open]').waitFor();
  });
}

// Ada twice, Bob and Eve, in rooms, each in a page that can be asked.
async function people(context) {
  const { browser, there } = context;
  const page = await there.page(browser, 'people');
  const enterAs = async (name, user, rooms, info = {}) => {
    const client = own(page, name);
    client.token = there.server.token(user, 3_600, { info: { name: info.name ?? user } });
    await client.make(there.server.url, { token: client.token });
    await client.state('open');
    for (const room of rooms) await client.run(({ client }, room) => client.join(room), room);
    client.id = (await client.run(({ client }) => client.session)).client;
    return client;
  };
  context.ada = await enterAs('ada', 'ada', ['room:tea', 'room:news'], { name: 'Ada Lovelace' });
  context.twin = await enterAs('twin', 'ada', ['room:tea'], { name: 'Ada Lovelace' });
  context.bob = await enterAs('bob', 'bob', ['room:news']);
  context.eve = await enterAs('eve', 'eve', []);
}

async function numbers({ page, ada }) {
  const tile = (name) => test(page, `tile-${name}`).locator('dd');
  await check('admin: the overview counts the connections and users that are there', async () => {
    await tile('connections').filter({ hasText: /^4\s*3 users$/ }).waitFor();
  });
  await check('admin: it shows the messages that flow', async () => {
    // Twenty requests a second while it is looked at.
    await ada.run(({ client }) => { window.busy = setInterval(() => client.request('test/echo', 1), 50); });
    await tile('received').filter({ hasText: /^([5-9]|1\d|2\d)(\.\d)?\/s/ }).waitFor();
    await tile('written').filter({ hasText: /^([5-9]|1\d|2\d)(\.\d)?\/s/ }).waitFor();
    await ada.run(() => clearInterval(window.busy));
  });
  await check('admin: every chart draws', async () => {
    const charts = page.locator('[data-testid^=chart-]');
    assert.ok(await charts.count() >= 7, `${await charts.count()} charts`);
    await until('all have drawn', () => charts.evaluateAll((all) => all.every((chart) => chart.querySelector('canvas, svg') || chart.textContent.includes('Nobody'))));
  });
  await look(page, 'admin-overview');
}

async function lists({ page, ada, bob }) {
  const rows = () => page.locator('[data-testid=connection-row]');
  const users = async () => (await page.locator('[data-testid=connection-row] .who').allTextContents()).map((text) => text.trim());
  await check('admin: every connection is listed with its user and address', async () => {
    await go(page, '#/connections');
    await rows().nth(3).waitFor();
    assert.equal(await rows().count(), 4);
    for (const name of ['Ada Lovelace', 'bob', 'eve']) assert.ok((await users()).some((text) => text.includes(name)), name);
    assert.match(await rows().first().textContent(), /127\.0\.0\.1/);
    assert.match(await rows().first().textContent(), /Chrom/);
  });
  await look(page, 'admin-connections');
  await check('admin: filters by user, by a part of the name, by tag, and all together', async () => {
    const counts = async (filter, count) => {
      for (const [name, value] of Object.entries(filter)) await test(page, `filter-${name}`).fill(value);
      await until(`${JSON.stringify(filter)} shows ${count}`, async () => await rows().count() === count);
      for (const name of Object.keys(filter)) await test(page, `filter-${name}`).fill('');
      await until('all are shown again', async () => await rows().count() === 4);
    };
    await counts({ user: 'bob' }, 1);
    await counts({ name: 'lovelace' }, 2);
    await counts({ tag: 'room:news' }, 2);
    await counts({ name: 'ada', tag: 'room:news' }, 1);
    await counts({ address: '127.0' }, 4);
  });
  await check('admin: a filter that nothing matches says so', async () => {
    await test(page, 'filter-user').fill('nobody');
    await page.getByText('No connection matches').waitFor();
  });
  await look(page, 'admin-connections-none');
  await check('admin: users with how many connections each has', async () => {
    await go(page, '#/connections?show=users');
    await page.locator('[data-testid=user-row][data-user=ada]', { hasText: '2 connections' }).waitFor();
    assert.equal(await page.locator('[data-testid=user-row]').count(), 3);
  });
  await look(page, 'admin-users');
  await check('admin: tags, and who is in one', async () => {
    await go(page, '#/tags');
    await page.locator('[data-testid=tag-row][data-tag="room:tea"]', { hasText: '2' }).click();
    await test(page, 'members').locator('[data-testid=connection-row]').nth(1).waitFor();
    const ids = await test(page, 'members').locator('[data-testid=connection-row]').evaluateAll((all) => all.map((row) => row.dataset.id));
    assert.ok(ids.includes(ada.id) && !ids.includes(bob.id));
  });
  await look(page, 'admin-tags');
}

async function forceOffline(context) {
  const { page, bob, eve, twin, ada, there } = context;
  const kick = async (client, revoke) => {
    await go(page, `#/connections?user=${client === bob ? 'bob' : client === eve ? 'eve' : 'ada'}`);
    await page.locator(`[data-testid=connection-row][data-id="${client.id}"] [data-testid=kick]`).click();
    await test(page, 'kick-dialog').waitFor();
    if (revoke) await test(page, 'kick-revoke').check();
  };
  await check('admin: force offline asks first, and not doing it changes nothing', async () => {
    await kick(bob, false);
    await look(page, 'admin-force-offline');
    await page.keyboard.press('Escape');
    await test(page, 'kick-dialog').waitFor({ state: 'detached' });
    assert.deepEqual(await bob.ask('test/echo', 1), { value: 1 });
  });
  await check('admin: force offline closes the live socket with 3503; the login is still good', async () => {
    await kick(bob, false);
    await test(page, 'kick-confirm').click();
    assert.equal((await bob.stateThat(({ state }) => state === 'closed')).code, 3503);
    await test(page, 'toasts').getByText('1 connection closed').waitFor();
    await page.locator(`[data-id="${bob.id}"]`).waitFor({ state: 'detached' });
    await bob.run(({ client }) => client.connect());
    await bob.state('open');
  });
  await check('admin: with revoke the socket is closed with 3510, and its token does not come back', async () => {
    await kick(eve, true);
    await test(page, 'kick-confirm').click();
    assert.equal((await eve.stateThat(({ state }) => state === 'closed')).code, 3510);
    await test(page, 'toasts').getByText('login is revoked').waitFor();
    await eve.run(({ client }, token) => client.setToken(token), eve.token);
    await until('the token is refused', async () => (await eve.states()).filter((state) => state === 'closed').length === 2);
  });
  await check('admin: one connection of a user closes, the other stays', async () => {
    await kick(twin, false);
    await test(page, 'kick-confirm').click();
    assert.equal((await twin.stateThat(({ state }) => state === 'closed')).code, 3503);
    assert.deepEqual(await ada.ask('test/echo', 2), { value: 2 });
  });
  await check('admin: who has left is listed with the code, and says why', async () => {
    await go(page, '#/connections?show=closed');
    await page.locator(`[data-testid=closed] [data-id="${eve.id}"]`, { hasText: '3510' }).waitFor();
    await page.locator(`[data-testid=closed] [data-id="${twin.id}"]`, { hasText: '3503' }).waitFor();
    await look(page, 'admin-left');
    await page.locator(`[data-testid=closed] [data-id="${twin.id}"] a`).first().click();
    await test(page, 'detail').locator('[data-testid=closed]', { hasText: '3503' }).waitFor();
  });
  await look(page, 'admin-closed-connection');
  await page.keyboard.press('Escape');
  context.complaints.push(...there.complaints.splice(0));
}

async function sending({ page, ada, bob, there }) {
  const send = async (kind, target, event, data) => {
    await go(page, `#/send?to=${kind}&target=${encodeURIComponent(target)}`);
    await test(page, 'send-event').fill(event);
    await test(page, 'send-data').fill(JSON.stringify(data));
    await test(page, 'send-submit').click();
    if (kind === 'all') await test(page, 'send-all-confirm').click();
  };
  const result = (text) => test(page, 'send-result').locator('[data-testid=send-receivers]', { hasText: text }).waitFor();
  await check('admin: a message to a user arrives, and the result says so', async () => {
    await send('user', 'ada', 'admin/user', { text: 'ä€😀' });
    await result(/^1 receiver/);
    assert.deepEqual(await ada.heard('admin/user'), [{ text: 'ä€😀' }]);
  });
  await look(page, 'admin-send');
  await check('admin: to a tag, to one connection, and to nobody', async () => {
    await send('tag', 'room:tea', 'admin/tag', 1);
    await result(/^1 receiver/);
    assert.deepEqual(await ada.heard('admin/tag'), [1]);
    assert.deepEqual(await bob.events('admin/tag'), []);
    await send('connection', ada.id, 'admin/connection', null);
    assert.deepEqual(await ada.heard('admin/connection'), [null]);
    await send('user', 'nobody', 'admin/nobody', 1);
    await result(/^0 receivers/);
  });
  await check('admin: to everybody, after a question', async () => {
    await send('all', '', 'admin/all', [1, 2]);
    await result(/^2 receivers/);
    for (const client of [ada, bob]) assert.deepEqual(await client.heard('admin/all'), [[1, 2]]);
    assert.deepEqual(await bob.events('admin/user'), []);
  });
  await check('admin: data that is no JSON is not sent, and the page says where it is wrong', async () => {
    await test(page, 'send-data').fill('{"text": nope}');
    await test(page, 'send-fault').filter({ hasText: 'Line 1' }).waitFor();
    assert.equal(await test(page, 'send-submit').isDisabled(), true);
  });
  await look(page, 'admin-send-fault');
  assert.deepEqual(there.complaints, []);
}

async function tracing({ page, ada }) {
  await check('admin: a traced connection shows its frames in both directions, as they come', async () => {
    await go(page, `#/connections?c=${ada.id}`);
    await test(page, 'trace-switch').click();
    await page.locator('[data-testid=trace-switch][aria-checked=true]').waitFor();
    await ada.ask('test/echo', 'seen by the admin');
    for (const direction of ['in', 'out']) {
      await page.locator(`[data-testid=frame][data-direction=${direction}]`, { hasText: 'seen by the admin' }).first().waitFor();
    }
  });
  await look(page, 'admin-trace');
  await check('admin: what is no longer traced is not shown', async () => {
    await test(page, 'trace-switch').click();
    await page.locator('[data-testid=trace-switch][aria-checked=false]').waitFor();
    const before = await page.locator('[data-testid=frame]').count();
    await ada.ask('test/echo', 'unseen');
    assert.equal(await page.locator('[data-testid=frame]', { hasText: 'unseen' }).count(), 0);
    assert.ok(await page.locator('[data-testid=frame]').count() <= before);
    await page.keyboard.press('Escape');
  });
}

async function events({ page, bob }) {
  const entry = (type, text) => page.locator(`[data-testid=log-entry][data-type=${type}]`, { hasText: text }).first().waitFor();
  await check('admin: the log shows what happens as it happens, and what administrators did', async () => {
    await go(page, '#/log');
    await entry('admin', 'ada');
    await bob.run(({ client }) => client.join('room:log'));
    await entry('joined', 'room:log');
    await bob.run(({ client }) => client.leave('room:log'));
    await entry('left', 'room:log');
  });
  await look(page, 'admin-log');
  await check('admin: the log is filtered by type and by text, also what comes later', async () => {
    await test(page, 'type-joined').click();
    await test(page, 'filter-text').fill('room:filtered');
    await page.getByText('room:log').first().waitFor({ state: 'detached' });
    await bob.run(async ({ client }) => { for (const room of ['room:other', 'room:filtered']) await client.join(room); });
    await entry('joined', 'room:filtered');
    assert.equal(await page.locator('[data-testid=log-entry]').count(), 1);
  });
}

async function settings({ page, frames, secrets }) {
  await check('admin: the configuration in force is shown, and no secret of it', async () => {
    await go(page, '#/config');
    await page.locator('[data-testid=setting][data-key="hooks.rpc.timeout"]', { hasText: '30s' }).waitFor();
    for (const key of ['auth.secret', 'admin.token', 'hooks.secret', 'webhooks.secret', 'metrics.token']) {
      const text = await page.locator(`[data-testid=setting][data-key="${key}"]`).textContent();
      assert.match(text, /\*\*\*|••|hidden|Secret/i, key);
    }
  });
  await look(page, 'admin-config');
  await check('admin: no secret is anywhere in the page, nor in anything that it was sent', async () => {
    const parts = [await page.content(), await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage })), ...frames];
    assert.ok(frames.length > 20, `${frames.length} frames were looked at`);
    for (const hidden of secrets()) {
      assert.ok(hidden.length >= 16);
      assert.equal(parts.findIndex((part) => part.includes(hidden)), -1, 'a secret is shown');
    }
  });
  await check('admin: this node is listed', async () => {
    await go(page, '#/nodes');
    await test(page, 'node').first().waitFor();
    assert.equal(await test(page, 'node').count(), 1);
  });
  await look(page, 'admin-nodes');
}

// What ends a session, or is between the page and its server.
async function outside(context) {
  const { browser, page, complaints, address, token, there, ada } = context;
  await check('admin: in Chinese every view has its texts', async () => {
    await test(page, 'language').click();
    assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
    for (const view of ['overview', 'connections', 'tags', 'send', 'log', 'config', 'nodes']) {
      await go(page, `#/${view}`);
      assert.match(await page.locator('main h1').textContent(), /\p{Script=Han}/u, view);
    }
    await go(page, '#/overview');
  });
  await look(page, 'admin-overview-chinese');
  await check('admin: the other theme is one click away, and stays', async () => {
    await test(page, 'language').click();
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const before = await background();
    await test(page, 'theme').click();
    await until('the colours have changed', async () => await background() !== before);
    await page.reload();
    await page.locator('[data-testid=state][data-state=open]').waitFor();
    assert.notEqual(await background(), before);
    await test(page, 'theme').click();
  });
  await check('admin: everything can be done with the keyboard: g and a letter, / for the filter, ? for help', async () => {
    await page.locator('body').press('g');
    await page.keyboard.press('c');
    await test(page, 'connections').waitFor();
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), 'filter-name');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('?');
    await test(page, 'help').waitFor();
    await look(page, 'admin-help');
    await page.keyboard.press('Escape');
  });
  await check('admin: a server that goes away is noticed, and found again when it is back: the page asks for the token', async () => {
    await losing([page, ada.page], async () => {
      await there.server.kill();
      await test(page, 'banner').waitFor();
      await look(page, 'admin-away');
      await there.server.start();
      // Sessions are in the memory of the server that has died.
      await test(page, 'login-form').waitFor();
      await ada.state('open');
    });
    await enter(page, null, token);
  });
  await check('admin: who logs out is out in every tab, at once', async () => {
    const second = await page.context().newPage();
    await second.goto(address);
    await second.locator('[data-testid=state][data-state=open]').waitFor();
    await test(page, 'logout').click();
    await test(page, 'login-form').waitFor();
    await losing([second], () => test(second, 'login-form').waitFor());
    assert.equal((await page.context().cookies()).length, 0);
    await second.close();
  });
  await check('admin: no complaint in any console', async () => assert.deepEqual([...complaints, ...there.complaints], []));
  await check('admin: who tries many wrong tokens has to wait, and is told how long', async () => {
    const guesser = await open(browser, address, { name: 'guesser' });
    const message = test(guesser, 'login-message');
    await until('the page says to wait', async () => {
      if (await test(guesser, 'login-submit').isDisabled()) return /\d+ s/.test(await message.textContent());
      await test(guesser, 'login-token').fill(`wrong ${randomBytes(6).toString('hex')}`);
      await test(guesser, 'login-submit').click();
      return false;
    });
    await look(guesser, 'admin-login-limited');
    await guesser.context().close();
  });
  await page.context().close();
}
