// examples/python-backend as its README says: the backend and the server beside each other, two people in Chromium, and each command.
//
//     node backend.mjs PATH-OF-THE-COMMAND PYTHON COPY-OF-THE-EXAMPLE
//
// Prints `ok NAME` or `not ok NAME: WHY` for each check; the exit status is 1 when one failed.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

const [binary, python, folder] = process.argv.slice(2);
const patience = 20_000;
const children = [];
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
let failures = 0;

async function check(name, work) {
  try {
    await work();
    console.log(`ok ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`not ok ${name}: ${String(error.message).slice(0, 600).replaceAll('\n', ' ')}`);
  }
}

// A child, once its first line is there.
async function start(command, options, env) {
  const child = spawn(command, options, { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const timer = setTimeout(() => child.kill('SIGKILL'), patience);
  const line = (await lines.next()).value ?? '';
  clearTimeout(timer);
  return { child, line };
}

async function stop(child) {
  const timer = setTimeout(() => child.kill('SIGKILL'), patience);
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const [code] = await exit;
  clearTimeout(timer);
  return code;
}

// The backend has to know where antiphon will be, and antiphon where the page comes from: one of the ports is chosen first.
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

const port = await freePort();
const env = { ANTIPHON_URL: `http://127.0.0.1:${port}`, PYTHONDONTWRITEBYTECODE: '1' };
const run = promisify(execFile);
const backend = async (...words) => (await run(python, ['backend.py', ...words], { cwd: folder, env: { ...process.env, ...env }, timeout: patience })).stdout;
const inPath = (name) => process.env.PATH.split(delimiter).map((place) => join(place, name)).find((file) => existsSync(file));

const site = await start(python, ['backend.py', 'serve', '0'], env);
const page = /^open (http:\/\/127\.0\.0\.1:\d+)\/\?user=ada$/.exec(site.line)?.[1];
await check('the backend says which page to open', async () => assert.ok(page, site.line));
await check('what the backend keeps is for its owner alone', async () => {
  for (const file of ['secret.txt', 'api-key.txt']) assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600, file);
});
await check('the configuration as it stands is good', async () => {
  const { stdout } = await run(binary, ['config', 'check', 'antiphon.toml'], { cwd: folder, timeout: patience });
  assert.match(stdout, /is good/);
});
const serve = () => start(binary, ['serve', '--config', 'antiphon.toml', '--set', `server.listen=127.0.0.1:${port}`, '--set', `server.origins=${page}`], {});
let server = await serve();
await check('antiphon starts', async () => assert.match(server.line, /^listening on ws:/));

const browser = await chromium.launch({
  executablePath: inPath('chromium'),
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const complaints = [];
async function tab(user) {
  const context = await browser.newContext();
  const opened = await context.newPage();
  opened.setDefaultTimeout(patience);
  opened.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()); });
  opened.on('pageerror', (error) => complaints.push(String(error)));
  await opened.goto(`${page}/?user=${user}`);
  return opened;
}
const state = (opened, text) => opened.locator('#state', { hasText: text }).waitFor();
const events = (opened) => opened.locator('#events li').allTextContents();
const [ada, bob] = await Promise.all([tab('ada'), tab('bob')]);

await check('two people get their tokens and connect', async () => {
  await Promise.all([state(ada, 'open, as ada'), state(bob, 'open, as bob')]);
});
await check('a publication reaches both', async () => {
  await backend('publish', 'news', 'to everybody <b>ä€😀</b>');
  for (const opened of [ada, bob]) await opened.locator('#events li', { hasText: 'message: to everybody <b>ä€😀</b>' }).waitFor();
});
await check('what is sent to one user reaches her alone, and the answer counts', async () => {
  const answer = await backend('send', 'ada', 'to ada alone');
  assert.match(answer, /'receivers': 1/);
  await ada.locator('#events li', { hasText: 'notice: to ada alone' }).waitFor();
  assert.deepEqual(await events(bob), ['message: to everybody <b>ä€😀</b>']);
});
await check('who is online: connections, and the presence of the channel', async () => {
  const lines = (await backend('online')).trim().split('\n');
  assert.equal(lines.length, 3, lines.join('|'));
  assert.deepEqual(lines.slice(0, 2).map((line) => line.split(' ')[1]).sort(), ['ada', 'bob']);
  assert.equal(lines[2], 'ada bob');
});
await check('a second tab of the same user counts as a connection, and hears what is sent to her', async () => {
  const second = await tab('ada');
  await state(second, 'open, as ada');
  assert.match(await backend('send', 'ada', 'on every device'), /'receivers': 2/);
  await second.locator('#events li', { hasText: 'notice: on every device' }).waitFor();
  await second.context().close();
});
await check('who is kicked reads why, and stays away', async () => {
  await backend('kick', 'bob');
  await state(bob, 'closed with 3503');
  await sleep(1_500);
  await state(bob, 'closed with 3503');
  assert.equal((await backend('online')).trim().split('\n').at(-1), 'ada');
  await state(ada, 'open, as ada');
});
await check('no complaint in the console', async () => assert.deepEqual(complaints, []));
await check('the server ends on SIGTERM with exit code 0, and the page hears that it restarts', async () => {
  const code = stop(server.child);
  await state(ada, 'closed with 1012');
  assert.equal(await code, 0);
});
await check('the page comes back by itself, with a new token, and hears again', async () => {
  server = await serve();
  assert.match(server.line, /^listening on ws:/);
  await state(ada, 'open, as ada');
  await backend('publish', 'news', 'after the restart');
  await ada.locator('#events li', { hasText: 'message: after the restart' }).waitFor();
});
await check('a wrong key is no key', async () => {
  const response = await fetch(`http://127.0.0.1:${port}/api/publish`, { method: 'POST', headers: { 'content-type': 'application/json', 'x-api-key': 'x'.repeat(64) }, body: '{"channel":"news","data":1}' });
  assert.equal(response.status, 401);
});
await check('it ends in peace', async () => assert.equal(await stop(server.child), 0));
await browser.close();
console.log(`chromium ${browser.version()}, ${failures} failed`);
process.exit(failures ? 1 : 0);
