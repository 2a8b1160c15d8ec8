// Where the client runs: in workers, in Node, in a page that goes to the back-forward cache, in a page that copies the demo's lines.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { backend, check, folder, launch, losing, open, read, serve, stop } from './support.mjs';
import { own, world } from './world.mjs';

export async function places(browser) {
  const there = await world();
  await workers(browser, there);
  await node(there);
  await backForwardCache(there);
  await there.close();
  await snippet(browser);
}

async function workers(browser, { page: openPage, server, complaints }) {
  for (const kind of ['Worker', 'SharedWorker']) {
    await check(`client: it works in a ${kind}`, async () => {
      const page = await openPage(browser, kind);
      const options = { url: server.url, token: await server.token(kind), room: `room:${kind}` };
      await page.evaluate(([kind, options]) => {
        const worker = kind === 'Worker' ? new Worker('/worker.js', { type: 'module' }) : new SharedWorker('/worker.js', { type: 'module' });
        const port = worker.port ?? worker;
        window.told = [];
        port.onmessage = ({ data }) => window.told.push(data);
        port.postMessage(options);
      }, [kind, options]);
      await page.waitForFunction(() => window.told.some((told) => told.joined));
      await server.api('publish', { channel: options.room, data: 'to the worker' });
      await page.waitForFunction(() => window.told.some((told) => told.heard));
      const told = await page.evaluate(() => window.told);
      assert.deepEqual(told.filter(({ state }) => state).map(({ state }) => state), ['connecting', 'open']);
      assert.deepEqual(told.filter(({ joined, heard }) => joined || heard), [{ joined: options.room }, { heard: 'to the worker' }]);
      await page.context().close();
    });
  }
  await check('client: no complaint in the console of a page with workers', async () => assert.deepEqual(complaints, []));
}

async function node({ server }) {
  await check('client: it works in Node with the package ws', async () => {
    const place = folder();
    writeFileSync(join(place, 'antiphon.mjs'), read('../../crates/server/pages/antiphon.js'));
    const ws = fileURLToPath(new URL('node_modules/ws/wrapper.mjs', import.meta.url));
    writeFileSync(join(place, 'main.mjs'), `
      import WebSocket from ${JSON.stringify(ws)};
      import { Client } from './antiphon.mjs';
      const client = new Client(process.argv[2], { token: process.env.TOKEN, WebSocket });
      const heard = new Promise((resolve) => client.once('message', resolve));
      client.connect();
      await client.join('room:node');
      console.log(await client.request('test/echo', 'hello'));
      await client.publish('room:node', 'message', { text: 'heard' });
      console.log((await heard).text);
      client.disconnect();
    `);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [join(place, 'main.mjs'), server.url], {
      env: { ...process.env, TOKEN: await server.token('node') }, timeout: 10_000,
    });
    // It also ends by itself: a client that is disconnected keeps no timer.
    assert.deepEqual([stdout, stderr], ['hello\nheard\n', '']);
  });
}

async function backForwardCache(there) {
  const { server, site } = there;
  // Playwright turns the cache off for its own sake.
  const browser = await launch({ rest: { ignoreDefaultArgs: ['--disable-back-forward-cache'] } });
  const page = await there.page(browser, 'bfcache');
  const ada = own(page, 'bfcache');
  await check('client: a page that is left is closed on the server at once, and open again when it is back from the cache', async () => {
    await ada.make(server.url, { token: await server.token('bfcache') });
    await ada.state('open');
    await ada.run(({ client }) => client.join('room:cache'));
    await page.evaluate(() => { window.mark = 'the same page'; });
    await losing([page], async () => {
      await page.goto(`${site.origin}/page.js`);
      const { code } = await site.end('bfcache');
      assert.ok([1000, 1001].includes(code), `closed with ${code}`);
      await page.goBack({ waitUntil: 'commit' });
    });
    assert.equal(await page.evaluate(() => window.mark), 'the same page', 'Chromium kept the page');
    await ada.state('open');
    await server.api('publish', { channel: 'room:cache', data: 'back' });
    assert.deepEqual(await ada.heard('message'), ['back']);
  });
  await browser.close();
}

// What a reader copies has to work as it stands.
async function snippet(browser) {
  await check('snippet: the lines that the chat page shows work in a page of another origin', async () => {
    const site = await backend({});
    site.policy = '';
    const demo = await serve(['--origin', site.origin]);
    const complaints = [];
    const chat = await open(browser, new URL('/chat?name=ada&room=tea', demo.page).href, { name: 'chat', complaints });
    await chat.locator('#state[data-state=open]').waitFor();
    const lines = await chat.locator('#snippet').textContent();
    site.files = { '/': `<!doctype html>\n<meta charset="utf-8">\n<title>Somebody else's page</title>\n<body>\n${lines}` };
    const page = await open(browser, site.origin, { name: 'copied lines', complaints });
    // Two are in the room as soon as the copied lines have joined.
    await chat.waitForFunction(() => document.querySelectorAll('#here li').length === 2);
    await chat.locator('#message').fill('hello <b>there</b>');
    await chat.locator('#message').press('Enter');
    await page.locator('body', { hasText: 'hello <b>there</b>' }).waitFor();
    assert.deepEqual(complaints, []);
    for (const opened of [chat, page]) await opened.context().close();
    await stop(demo.child);
    site.close();
  });
}
