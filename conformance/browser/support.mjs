// What the tests in Chromium share: checks that count, servers of the real command, a backend, pages that may not complain.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createPort } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

// The longest that anything here waits for a state. Nothing waits for a time.
export const patience = 20_000;

const [binary] = process.argv.slice(2);
const children = new Set();
const folders = new Set();
process.on('exit', () => {
  children.forEach((child) => child.kill('SIGKILL'));
  folders.forEach((folder) => rmSync(folder, { recursive: true, force: true }));
});

// Checks: each prints `ok NAME` or `not ok NAME: WHY`. Numbers that are told but not judged are figures.
export const failures = [];
export async function check(name, work) {
  const begun = performance.now();
  try {
    await work();
    console.log(`ok ${name} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    failures.push(name);
    console.log(`not ok ${name}: ${String(error.stack ?? error).slice(0, 1200).replaceAll('\n', ' ')}`);
    return false;
  }
}
export const figure = (text) => console.log(`figure: ${text}`);

// Waits until `work` gives something true; says `what` was waited for otherwise.
export async function until(what, work, limit = patience) {
  const end = performance.now() + limit;
  for (;;) {
    const value = await work();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not after ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function folder() {
  const path = mkdtempSync(join(tmpdir(), 'antiphon-browser-'));
  folders.add(path);
  return path;
}

// The command: a server, once it has said where it listens.
export async function start(words, { lines = 1, env = {} } = {}) {
  const child = spawn(binary, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  children.add(child);
  child.once('exit', () => children.delete(child));
  let errors = '';
  child.stderr.on('data', (data) => { errors = (errors + data).slice(-4_000); });
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const timer = setTimeout(() => child.kill('SIGKILL'), patience);
  const first = [];
  while (first.length < lines) first.push((await said.next()).value ?? '');
  clearTimeout(timer);
  assert.match(first[0], /^listening on wss?:\/\/127\.0\.0\.1:\d+\//, errors);
  return { child, said: first, url: first[0].slice('listening on '.length), errors: () => errors };
}

// SIGTERM, and the exit code.
export async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const timer = setTimeout(() => child.kill('SIGKILL'), patience);
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const [code] = await exit;
  clearTimeout(timer);
  return code;
}

// `antiphon serve --dev`, and its page.
export async function serve(options = [], port = 0) {
  const server = await start(['serve', '--dev', '--listen', `127.0.0.1:${port}`, ...options], { lines: 2 });
  assert.match(server.said[1], /^open https?:\/\/127\.0\.0\.1:\d+\/$/);
  return { ...server, page: server.said[1].slice('open '.length) };
}

// A port that nobody has, for what cannot say which one it has chosen.
export async function freePort() {
  const server = createPort().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

// A token that was signed by the backend, as docs/auth.md has it.
export function jwt(secret, claims) {
  const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ iat: Math.floor(Date.now() / 1_000), ...claims })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

const run = promisify(execFile);
export const command = async (...words) => (await run(binary, words, { timeout: patience })).stdout;

// `antiphon serve --config` with users by JWT, an API key and what else the test writes into its file. It comes back on its port.
export async function realtime(more = {}) {
  const place = folder();
  const file = join(place, 'antiphon.toml');
  const secret = (await command('token', 'secret')).trim();
  const [, key, hash] = /key = "(.+)"\nhash = "(.+)"/.exec(await command('token', 'apikey'));
  const sections = {
    server: { listen: '127.0.0.1:0', drain: '5s', ...more.server },
    auth: { mode: 'jwt', secret, leeway: '0s', ...more.auth },
    permissions: { join: ['*'], publish: ['*'], presence: ['*'], ...more.permissions },
    ...Object.fromEntries(Object.entries(more).filter(([name]) => !['server', 'auth', 'permissions'].includes(name))),
  };
  const text = Object.entries(sections).map(([name, keys]) => (
    `[${name}]\n${Object.entries(keys).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join('')}`
  ));
  writeFileSync(file, `${text.join('\n')}\n[[api.keys]]\nname = "test"\nhash = "${hash}"\n`, { mode: 0o600 });
  const server = {
    key, secret, file,
    async start() {
      const listen = server.url ? ['--set', `server.listen=${new URL(server.url).host}`] : [];
      Object.assign(server, await start(['serve', '--config', file, ...listen]));
      return server;
    },
    async kill() {
      const exit = once(server.child, 'exit');
      server.child.kill('SIGKILL');
      await exit;
    },
    stop: () => stop(server.child),
    // Whole seconds: a token of `ttl` seconds lives up to one less.
    token: (user, ttl = 3_600, claims = {}) => jwt(secret, { sub: user, jti: randomBytes(8).toString('hex'), exp: Math.floor(Date.now() / 1_000) + ttl, ...claims }),
    tokenOfCommand: async (user) => (await command('token', 'new', '--config', file, '--user', user)).trim(),
    async api(call, body) {
      const response = await fetch(new URL(`/api/${call}`, server.url.replace(/^ws/, 'http')), {
        method: 'POST', headers: { 'content-type': 'application/json', 'x-api-key': key }, body: JSON.stringify(body),
      });
      const answer = await response.json();
      assert.ok(answer.result ?? answer.replies, `${call}: ${JSON.stringify(answer)}`);
      return answer.result ?? answer;
    },
  };
  return server.start();
}

// A server of another origin: files, the answers of a backend to the hook `rpc`, and what webhooks tell.
export async function backend(files, answers = {}) {
  const kinds = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };
  const policy = "default-src 'self'; connect-src 'self' ws://127.0.0.1:*; worker-src 'self'";
  const site = { calls: [], events: [], files, policy };
  const body = async (request) => JSON.parse(Buffer.concat(await request.toArray()).toString());
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://127.0.0.1');
    if (request.method === 'POST') {
      const question = await body(request);
      if (pathname === '/webhooks') {
        site.events.push(...question.events);
        response.end();
      } else {
        site.calls.push(question);
        const answer = await answers[question.method]?.(question) ?? { error: { code: 104, message: 'method not found' } };
        response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
      }
      return;
    }
    const file = site.files[pathname];
    if (file === undefined) {
      response.writeHead(pathname === '/favicon.ico' ? 204 : 404).end();
      return;
    }
    response.writeHead(200, { 'content-type': kinds[extname(pathname)] ?? kinds['.html'], 'content-security-policy': site.policy, 'cache-control': 'max-age=60' });
    response.end(file);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  site.origin = `http://127.0.0.1:${server.address().port}`;
  site.close = () => { server.closeAllConnections(); server.close(); };
  // What the server has told of a connection's end: `{ code, reason, time }`.
  site.end = (user) => until(`the server tells how ${user} left`, () => site.events.find((event) => event.type === 'disconnect' && event.user === user));
  return site;
}

export const read = (path) => readFileSync(new URL(path, import.meta.url));

const inPath = (name) => process.env.PATH.split(delimiter).map((place) => join(place, name)).find((file) => existsSync(file));
export const launch = (options = {}) => chromium.launch({
  executablePath: inPath('chromium'),
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...options.args ?? []],
  ...options.rest,
});

// A page in a context of its own whose complaints are kept: the console's, broken policies, failed requests.
// Where a server goes away, Chromium itself says so in the console; `losing` is the work in which that is no complaint.
export async function open(browser, url, { name = 'page', complaints = [], context: options = {}, prepare = () => {} } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  watch(page, name, complaints);
  await prepare(page);
  if (url) await page.goto(url, { waitUntil: 'load' });
  return page;
}

export function watch(page, name, complaints) {
  const complain = (text) => { if (!page.losing) complaints.push(`${name}: ${text}`); };
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complain(message.text()); });
  page.on('pageerror', (error) => complaints.push(`${name}: ${error.stack ?? error}`));
  page.on('requestfailed', (request) => complain(`${request.url()} ${request.failure()?.errorText}`));
  page.on('response', (response) => { if (response.status() >= 400) complain(`${response.url()} ${response.status()}`); });
  // A violation of the content security policy is reported here even where the console stays silent.
  return page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`)));
}

// What Chromium says of connections that fail is expected within `work`, on these pages.
export async function losing(pages, work) {
  for (const page of pages) page.losing = true;
  try {
    return await work();
  } finally {
    for (const page of pages) page.losing = false;
  }
}

export function place(path) {
  mkdirSync(path, { recursive: true });
  return path;
}
