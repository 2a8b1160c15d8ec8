// Chromium on the page of `antiphon serve --dev`: it loads, connects, echoes, notices the end, connects again, fits a phone, speaks
// two languages; plain, compressed, and over TLS with HTTP/2.
import assert from 'node:assert/strict';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { look } from './looks.mjs';
import { check, folder, open, serve, start, stop } from './support.mjs';

// Everything that a person can read or hear on the page, but for what is the same in every language.
function words() {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!element.closest('[hidden], code, #log .sent .text, #log .received .text, #language, h1')) texts.push(node.data.trim());
  }
  for (const element of document.querySelectorAll('body [aria-label], body [placeholder], body [title], body img[alt]')) {
    if (element.id === 'language') continue;
    texts.push(...['aria-label', 'placeholder', 'title', 'alt'].map((name) => element.getAttribute(name) ?? ''));
  }
  return texts.filter((text) => /\p{Letter}{2}/u.test(text.replace(/[\d.,·]+|\b(?:ms|B|KiB|MiB|AM|PM)\b|wss?:\/\/\S+/g, '')));
}

const variants = [['plain', []], ['compressed', ['--compression', '--compression-min-size', '0']], ['TLS', ['--tls-self-signed', '--compression']]];

export async function echo(browser) {
  for (const [tag, options] of variants) {
    let server;
    await check(`${tag}: the server starts and says which page to open`, async () => { server = await serve(options); });
    if (!server) continue;
    const complaints = [];
    const page = await open(browser, null, { complaints, context: { ignoreHTTPSErrors: true } });
    const context = page.context();
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket.url()));
    const handshakes = [];
    const devtools = await context.newCDPSession(page);
    await devtools.send('Network.enable');
    devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response));
    const received = (text) => page.locator('#log li.received', { hasText: text });

    await check(`${tag}: the page loads and connects`, async () => {
      const response = await page.goto(server.page, { waitUntil: 'load' });
      assert.equal(response.status(), 200);
      assert.ok(response.headers()['content-security-policy'], 'the page has a content security policy');
      await page.locator('#state[data-state=open]').waitFor();
      assert.deepEqual(sockets.map((url) => new URL(url).protocol), [tag === 'TLS' ? 'wss:' : 'ws:']);
    });
    if (tag === 'TLS') {
      await check('TLS: page and socket come over HTTP/2', async () => {
        const protocol = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
        assert.equal(protocol, 'h2');
        // An upgrade of HTTP/1.1 has status 101, an extended CONNECT of HTTP/2 has 200.
        assert.deepEqual(handshakes.map((response) => response.status), [200]);
      });
    }
    await check(`${tag}: compression is agreed on ${tag === 'plain' ? 'only where it is asked for' : 'where it is asked for'}`, async () => {
      const headers = Object.entries(handshakes[0].headers).map(([name, value]) => [name.toLowerCase(), value]);
      const extensions = Object.fromEntries(headers)['sec-websocket-extensions'] ?? '';
      assert.equal(extensions.startsWith('permessage-deflate'), tag !== 'plain', extensions);
    });
    await check(`${tag}: Enter sends, the echo appears`, async () => {
      await page.locator('#message').fill('first <b>message</b> ä€😀');
      await page.locator('#message').press('Enter');
      await received('first <b>message</b> ä€😀').waitFor();
      assert.equal(await page.locator('#message').inputValue(), '');
      assert.equal(await page.locator('#log b').count(), 0, 'text is never markup');
    });
    await check(`${tag}: the button sends, the echo appears`, async () => {
      await page.locator('#message').fill('second message');
      await page.locator('#send').click();
      await received('second message').waitFor();
      assert.equal(await page.locator('#log li.sent').count(), 2);
      assert.equal(await page.locator('#log li.received').count(), 2);
    });
    if (tag === 'plain') await look(page, 'echo-open');
    await check(`${tag}: a small phone has no horizontal scroll bar`, async () => {
      await page.setViewportSize({ width: 320, height: 568 });
      const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
      await page.setViewportSize({ width: 1280, height: 800 });
      assert.ok(scroll <= client, `the page is ${scroll} wide on a screen of ${client}`);
    });
    await check(`${tag}: every text is there in English and in Chinese`, async () => {
      const english = await page.evaluate(words);
      await page.locator('#language').click();
      assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
      const chinese = await page.evaluate(words);
      await page.locator('#language').click();
      assert.equal(await page.getAttribute('html', 'lang'), 'en');
      assert.ok(english.length > 10, `only ${english.length} texts were found`);
      assert.deepEqual(english.filter((text) => /\p{Script=Han}/u.test(text)), []);
      assert.deepEqual(chinese.filter((text) => !/\p{Script=Han}/u.test(text)), []);
      assert.deepEqual(await page.evaluate(words), english, 'English comes back');
    });
    if (tag === 'plain') {
      await page.locator('#language').click();
      await look(page, 'echo-chinese');
      await page.locator('#language').click();
    }
    await check(`${tag}: a message of 60,000 characters echoes`, async () => {
      const text = 'long '.repeat(12_000).trim();
      await page.locator('#message').fill(text);
      await page.locator('#send').click();
      await page.waitForFunction((length) => [...document.querySelectorAll('#log li.received')].some((item) => item.textContent.length > length), 59_000);
    });
    await check(`${tag}: no complaint in the console`, async () => assert.deepEqual(complaints, []));
    await check(`${tag}: the server ends on SIGTERM with exit code 0`, async () => assert.equal(await stop(server.child), 0));
    await check(`${tag}: the page notices at once and shows the close code`, async () => {
      await page.locator('#state[data-state=closed]').waitFor();
      await page.locator('#log li', { hasText: '1001' }).waitFor();
    });
    if (tag === 'plain') await look(page, 'echo-closed');
    await check(`${tag}: it connects again to a server on the same port`, async () => {
      server = await serve(options, Number(new URL(server.page).port));
      await page.locator('#reconnect').click();
      await page.locator('#state[data-state=open]').waitFor();
      await page.locator('#message').fill('after the restart');
      await page.locator('#message').press('Enter');
      await received('after the restart').waitFor();
    });
    await check(`${tag}: a server that is killed is noticed too`, async () => {
      server.child.kill('SIGKILL');
      await page.locator('#state[data-state=closed]').waitFor();
    });
    await context.close();
  }
}

// The page of `serve --watch`: a file, as it changes.
export async function watch(browser) {
  const file = join(folder(), 'notes.txt');
  writeFileSync(file, 'first line\n');
  const server = await start(['serve', '--watch', file, '--listen', '127.0.0.1:0'], { lines: 2 });
  const complaints = [];
  const page = await open(browser, server.said[1].slice('open '.length), { name: 'watch', complaints });
  await check('watch: the page shows the file, and what is added to it', async () => {
    await page.locator('#file', { hasText: 'first line' }).waitFor();
    appendFileSync(file, 'second <b>line</b> ä€😀\n');
    await page.locator('#file', { hasText: 'second <b>line</b> ä€😀' }).waitFor();
  });
  await look(page, 'watch');
  await check('watch: no complaint in the console', async () => assert.deepEqual(complaints, []));
  assert.equal(await stop(server.child), 0);
  await page.context().close();
}
