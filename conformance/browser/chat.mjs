// Several tabs of Chromium on the chat of `antiphon serve --dev`: rooms, presence, typing, a server that dies and comes back; and
// hotgo's wire as a page without any library speaks it.
import assert from 'node:assert/strict';

import { look } from './looks.mjs';
import { check, open as openPage, patience, serve, stop, until } from './support.mjs';

const room = 'tea';

// What a person reads on the page, but for names, messages and code, which are the same in every language.
function words() {
  const texts = [];
  const own = '[hidden], code, h1, #language, .label, .face, #room-title, #log .sent .text, #log .received .text, #log .received b';
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.parentElement.closest(own) && node.parentElement.checkVisibility()) texts.push(node.data.trim());
  }
  for (const element of document.querySelectorAll('body [aria-label], body [placeholder]')) {
    if (element.id === 'language' || !element.checkVisibility()) continue;
    texts.push(...['aria-label', 'placeholder'].map((name) => element.getAttribute(name) ?? ''));
  }
  return texts.filter((text) => /\p{Letter}{2}/u.test(text.replace(/\b(?:AM|PM)\b/g, '')));
}

export async function chat(browser) {
  let server = await serve([]);
  const address = new URL('/chat', server.page).href;
  const contexts = [];
  const complaints = [];
  const tabs = {};

  async function open(name, url) {
    const page = await openPage(browser, url, { name, complaints });
    contexts.push(page.context());
    tabs[name] = page;
    return page;
  }
  const enter = (name) => open(name, `${address}?name=${name}&room=${room}`);
  const isOpen = (page) => page.locator('#state[data-state=open]').waitFor();
  const here = (page, names) => page.waitForFunction((names) => {
    const listed = [...document.querySelectorAll('#here li')].map((item) => item.dataset.user);
    return JSON.stringify(listed) === JSON.stringify(names);
  }, names);
  const said = (page) => page.evaluate(() => [...document.querySelectorAll('#log .sent > .text, #log .received > .text')].map((text) => text.textContent));
  const hears = (page, text) => page.locator('#log .sent > .text, #log .received > .text').getByText(text, { exact: true }).waitFor();
  async function say(page, text) {
    await page.locator('#message').fill(text);
    await page.locator('#message').press('Enter');
  }

  await check('chat: the page of the echo leads to it, and it leads back', async () => {
    const page = await open('visitor', server.page);
    await page.locator('a[href="/chat"]').click();
    await page.locator('#welcome').waitFor();
    await look(page, 'chat-welcome');
    await page.locator('a[href="/"]').click();
    await page.locator('#log').waitFor();
    await page.close();
    delete tabs.visitor;
  });
  await check('chat: a name, a room and the keyboard lead in', async () => {
    const page = await open('ada', address);
    await page.keyboard.type('ada');
    await page.keyboard.press('Tab');
    await page.keyboard.type(room);
    await page.keyboard.press('Enter');
    await isOpen(page);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'message');
    await here(page, ['ada']);
  });
  await check('chat: three tabs see each other', async () => {
    for (const name of ['bob', 'eve']) await isOpen(await enter(name));
    for (const page of Object.values(tabs)) {
      await here(page, ['ada', 'bob', 'eve']);
      await page.waitForFunction(() => document.querySelectorAll('#online li').length === 3);
    }
    await tabs.ada.locator('#log .info', { hasText: 'eve joined' }).waitFor();
  });
  await check('chat: what three say at once stands in one order everywhere', async () => {
    const all = [];
    for (const [name, page] of Object.entries(tabs)) {
      all.push((async () => { for (let turn = 0; turn < 10; turn += 1) await say(page, `${name} says ${turn}`); })());
    }
    await Promise.all(all);
    for (const page of Object.values(tabs)) await page.waitForFunction(() => document.querySelectorAll('#log .sent, #log .received').length === 30);
    const [ada, bob, eve] = await Promise.all(Object.values(tabs).map(said));
    assert.deepEqual(bob, ada);
    assert.deepEqual(eve, ada);
    for (const name of Object.keys(tabs)) {
      const own = ada.filter((text) => text.startsWith(name));
      assert.deepEqual(own, own.map((_, turn) => `${name} says ${turn}`));
    }
    assert.equal(await tabs.bob.locator('#log .sent').count(), 10);
    await tabs.bob.waitForFunction(() => document.querySelectorAll('#unsent li').length === 0);
  });
  await check('chat: text is never markup', async () => {
    await say(tabs.eve, '<b id="evil">bold</b> & <img src=x onerror=alert(1)> 你好');
    await hears(tabs.ada, '<b id="evil">bold</b> & <img src=x onerror=alert(1)> 你好');
    assert.equal(await tabs.ada.locator('#log img, #evil').count(), 0);
  });
  await check('chat: the others see who types, until the message is there', async () => {
    await tabs.bob.locator('#message').pressSequentially('hm');
    await tabs.ada.locator('#typing.shown', { hasText: 'bob is typing' }).waitFor();
    assert.equal(await tabs.bob.locator('#typing.shown').count(), 0);
    await tabs.bob.locator('#message').press('Enter');
    await hears(tabs.ada, 'hm');
    await tabs.ada.waitForFunction(() => !document.querySelector('#typing.shown'));
  });
  await check('chat: two rooms are separate, and the list counts both', async () => {
    const before = await said(tabs.ada);
    await tabs.eve.locator('#new-room').fill('coffee');
    await tabs.eve.locator('#new-room').press('Enter');
    await here(tabs.eve, ['eve']);
    await say(tabs.eve, 'only in coffee');
    await hears(tabs.eve, 'only in coffee');
    const counts = ['coffee', room].map((name) => tabs.ada.locator(`#rooms [data-room="${name}"] .count`));
    await tabs.ada.waitForFunction(() => document.querySelector('#rooms [data-room=coffee] .count')?.textContent === '1');
    assert.equal(await counts[1].textContent(), '3');
    await say(tabs.bob, 'only in tea');
    await hears(tabs.ada, 'only in tea');
    assert.deepEqual(await said(tabs.ada), [...before, 'only in tea']);
    assert.deepEqual(await said(tabs.eve), ['only in coffee']);
    await tabs.eve.locator(`#rooms [data-room="${room}"] .unread`, { hasText: '1' }).waitFor();
    await tabs.eve.locator(`#rooms [data-room="${room}"]`).click();
    assert.deepEqual(await said(tabs.eve), await said(tabs.ada));
  });
  await check('chat: whoever leaves the room or closes the tab is gone from it', async () => {
    await tabs.eve.locator('#leave').click();
    await here(tabs.ada, ['ada', 'bob']);
    await tabs.ada.locator('#log .info', { hasText: 'eve left' }).waitFor();
    const twin = await enter('bob');
    await isOpen(twin);
    await tabs.ada.locator('#here [data-user=bob] .count', { hasText: '2' }).waitFor();
    await twin.close();
    await tabs.ada.waitForFunction(() => !document.querySelector('#here [data-user=bob] .count'));
    assert.equal(await tabs.ada.locator('#log .info', { hasText: 'bob left' }).count(), 0, 'bob is here with his other tab');
    await tabs.eve.close();
    delete tabs.eve;
    await tabs.ada.waitForFunction(() => document.querySelectorAll('#online li').length === 2);
    tabs.bob = contexts[2].pages()[0];
  });
  await look(tabs.ada, 'chat-room');
  for (const [width, height] of [[900, 700], [320, 568]]) {
    await check(`chat: no horizontal scroll bar on a screen ${width} wide`, async () => {
      await tabs.ada.setViewportSize({ width, height });
      const [scroll, client] = await tabs.ada.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
      await tabs.ada.setViewportSize({ width: 1280, height: 800 });
      assert.ok(scroll <= client, `the page is ${scroll} wide on a screen of ${client}`);
    });
  }
  await check('chat: every text is there in English and in Chinese', async () => {
    const english = await tabs.ada.evaluate(words);
    await tabs.ada.locator('#language').click();
    assert.equal(await tabs.ada.getAttribute('html', 'lang'), 'zh-CN');
    const chinese = await tabs.ada.evaluate(words);
    await tabs.ada.locator('#language').click();
    assert.ok(english.length > 10, `only ${english.length} texts were found`);
    assert.deepEqual(english.filter((text) => /\p{Script=Han}/u.test(text)), []);
    assert.deepEqual(chinese.filter((text) => !/\p{Script=Han}/u.test(text)), []);
    assert.deepEqual(await tabs.ada.evaluate(words), english, 'English comes back');
  });
  await check('chat: at most 500 lines are kept', async () => {
    await tabs.ada.evaluate(async () => {
      for (let turn = 0; turn < 520; turn += 1) {
        document.getElementById('message').value = `line ${turn}`;
        document.getElementById('composer').requestSubmit();
        if (turn % 20 !== 19) continue;
        // Neither faster than the hub allows, nor ahead of its replies.
        do await new Promise((resolve) => setTimeout(resolve, 250));
        while (!document.querySelector('#log li:last-child').textContent.includes(`line ${turn}`));
      }
    });
    await hears(tabs.ada, 'line 519');
    assert.equal(await tabs.ada.locator('#log li').count(), 500);
    assert.equal(await tabs.ada.locator('#unsent li').count(), 0);
  });
  await check('hotgo: a page without a library speaks its wire, byte for byte', async () => {
    const replies = await tabs.ada.evaluate(async (url) => {
      const socket = new WebSocket(url);
      const next = () => new Promise((resolve) => socket.addEventListener('message', (event) => resolve(event.data), { once: true }));
      await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
      const replies = [socket.protocol];
      for (const request of ['{"event":"ping"}', '{"event":"join","data":{"id":"a"}}', '{"event":"quit","data":{"id":"a"}}', '{"event":"no/such"}']) {
        const reply = next();
        socket.send(request);
        replies.push(await reply);
      }
      socket.close();
      return replies;
    }, new URL('/socket', server.page).href.replace(/^http/, 'ws'));
    const stripped = replies.map((reply) => reply.replace(/"timestamp":\d{10}\}/, '"timestamp":T}'));
    assert.deepEqual(stripped, [
      '',
      '{"event":"ping","code":0,"timestamp":T}\n',
      '{"event":"join","data":["a"],"code":0,"timestamp":T}\n',
      '{"event":"quit","data":[],"code":0,"timestamp":T}\n',
      stripped[4],
    ]);
    assert.match(stripped[4], /^\{"event":"no\/such","code":-1,"errorMsg":"[^"]+","timestamp":T\}\n$/);
  });
  await check('chat: whoever is sent away stays away and is told why', async () => {
    const context = await browser.newContext();
    contexts.push(context);
    const page = await context.newPage();
    let handshakes = 0;
    let route = null;
    await page.routeWebSocket(/\/socket/, (socket) => {
      handshakes += 1;
      route = socket;
      socket.connectToServer();
    });
    await page.goto(`${address}?name=mallory&room=${room}`);
    await isOpen(page);
    await route.close({ code: 3503, reason: 'force no reconnect' });
    await page.locator('#state[data-state=closed]').waitFor();
    await page.locator('#log .error', { hasText: '3503: force no reconnect' }).waitFor();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal(handshakes, 1);
    await page.locator('#reconnect').click();
    await isOpen(page);
    await route.close({ code: 3001, reason: 'shutdown' });
    await until('it has connected again', () => handshakes === 3);
    await isOpen(page);
    await context.close();
  });
  await check('chat: no complaint in the console', async () => assert.deepEqual(complaints, []));
  await check('chat: a server that is killed and comes back finds everybody in the room again', async () => {
    server.child.kill('SIGKILL');
    for (const page of [tabs.ada, tabs.bob]) await page.locator('#state[data-state=waiting], #state[data-state=connecting]').waitFor();
    await tabs.bob.locator('#log .error', { hasText: '1006' }).waitFor();
    await say(tabs.bob, 'said without a connection');
    await tabs.bob.locator('#unsent li', { hasText: 'said without a connection' }).waitFor();
    server = await serve([], Number(new URL(server.page).port));
    for (const page of [tabs.ada, tabs.bob]) {
      await isOpen(page);
      await here(page, ['ada', 'bob']);
    }
    await hears(tabs.bob, 'said without a connection');
    await tabs.bob.waitForFunction(() => document.querySelectorAll('#unsent li').length === 0);
    await say(tabs.ada, 'here again');
    await hears(tabs.bob, 'here again');
  });
  await check('chat: a server that stops says so, ends with exit code 0, and the next one finds everybody again', async () => {
    assert.equal(await stop(server.child), 0);
    await tabs.ada.locator('#log .error', { hasText: /10(01|12)/ }).waitFor();
    server = await serve([], Number(new URL(server.page).port));
    for (const page of [tabs.ada, tabs.bob]) {
      await isOpen(page);
      await here(page, ['ada', 'bob']);
    }
  });
  await check('chat: whoever leaves while there is no connection does not come back', async () => {
    server.child.kill('SIGKILL');
    await tabs.bob.locator('#state[data-state=waiting], #state[data-state=connecting]').waitFor();
    await look(tabs.bob, 'chat-waiting');
    await tabs.bob.locator('#leave').click();
    await tabs.bob.locator('#welcome').waitFor();
    server = await serve([], Number(new URL(server.page).port));
    await isOpen(tabs.ada);
    await here(tabs.ada, ['ada']);
    await tabs.bob.locator('#name').fill('bob');
    await tabs.bob.locator('#name').press('Enter');
    await here(tabs.ada, ['ada', 'bob']);
    assert.equal(await stop(server.child), 0);
  });
  await check('chat: over TLS, HTTP/2 and compression too', async () => {
    server = await serve(['--tls-self-signed', '--compression']);
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    contexts.push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    await page.goto(new URL(`/chat?name=ada&room=${room}`, server.page).href);
    await isOpen(page);
    await say(page, 'hello '.repeat(300).trim());
    await page.locator('#log .sent').waitFor();
    assert.equal(await stop(server.child), 0);
  });
  for (const context of contexts) await context.close();
}
