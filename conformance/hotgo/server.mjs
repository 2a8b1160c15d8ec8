// `antiphon serve --config FILE` as a child, its HTTP API, and tokens as a backend makes them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const patience = 20_000;
const children = new Set();
const folder = mkdtempSync(join(tmpdir(), 'hotgo-'));
process.on('exit', () => {
  children.forEach((child) => child.kill('SIGKILL'));
  rmSync(folder, { recursive: true });
});

export const secret = randomBytes(24).toString('hex');
export const origin = 'http://admin.example';
const key = randomBytes(24).toString('hex');

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function sign(claims, by = secret) {
  const text = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url(claims)}`;
  return `${text}.${createHmac('sha256', by).update(text).digest('base64url')}`;
}

// What hotgo signs: who somebody is, and no end.
export function hotgoToken(id, more = {}, by = secret) {
  const loginAt = new Date().toISOString().slice(0, 19).replace('T', ' ');
  return sign({
    id, pid: 0, deptId: 100, roleId: 1, roleKey: 'admin', username: `user${id}`, realName: 'Somebody', avatar: '', email: 'a@b.example',
    mobile: '13800000000', app: 'admin', loginAt, ...more,
  }, by);
}

export function jwtToken(id, more = {}, by = secret) {
  const now = Math.floor(Date.now() / 1000);
  return sign({ sub: String(id), iat: now, exp: now + 600, jti: randomBytes(8).toString('hex'), ...more }, by);
}

export class Server {
  constructor(binary, mode, more = '') {
    this.binary = binary;
    this.file = join(folder, `${randomBytes(4).toString('hex')}.toml`);
    writeFileSync(this.file, `
[server]
origins = ["${origin}"]

[auth]
mode = "${mode}"
secret = "${secret}"
${more}
[api]
hotgo = true

[[api.keys]]
name = "backend"
hash = "${createHash('sha256').update(key).digest('hex')}"

[[api.keys]]
name = "watcher"
hash = "${createHash('sha256').update(`${key}-watcher`).digest('hex')}"
scopes = ["connections"]
`, { mode: 0o600 });
    this.port = 0;
  }

  async start() {
    this.child = spawn(this.binary, ['serve', '--config', this.file, '--set', `server.listen=127.0.0.1:${this.port}`], { stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(this.child);
    this.log = '';
    this.child.stderr.setEncoding('utf8').on('data', (text) => { this.log = (this.log + text).slice(-20_000); });
    const lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), patience);
    const line = (await lines.next()).value ?? '';
    clearTimeout(timer);
    const found = /^listening on ws:\/\/127\.0\.0\.1:(\d+)\//.exec(line);
    assert.ok(found, `the server does not start: ${line} ${this.log}`);
    this.port = Number(found[1]);
    return this;
  }

  get address() {
    return `ws://127.0.0.1:${this.port}/socket`;
  }

  async stop(signal = 'SIGTERM') {
    const exit = once(this.child, 'exit');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), patience);
    this.child.kill(signal);
    const [code] = await exit;
    clearTimeout(timer);
    children.delete(this.child);
    return code;
  }

  async request(path, { method = 'POST', body, headers = { 'x-api-key': key } } = {}) {
    const response = await fetch(`http://127.0.0.1:${this.port}/${path}`, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(patience),
    });
    const text = await response.text();
    let json;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    return { status: response.status, text, json };
  }

  // One of hotgo's own calls; the envelope that it answers.
  async hotgo(path, { as = 'backend', ...more } = {}) {
    const shown = { backend: { 'x-api-key': key }, watcher: { 'x-api-key': `${key}-watcher` }, nobody: {} }[as];
    const { status, text, json } = await this.request(path, { ...more, headers: shown });
    assert.equal(status, { nobody: 401, watcher: json.code === 61 ? 403 : 200, backend: 200 }[as], `${path}: ${status} ${text}`);
    assert.deepEqual(Object.keys(json), ['code', 'message', 'data', 'timestamp', 'traceID'], text);
    return json;
  }

  // A call of the API; what it answers.
  async call(name, body) {
    const { status, text, json } = await this.request(`api/${name}`, { body });
    assert.equal(status, 200, `${name}: ${status} ${text}`);
    assert.ok(json?.result, `${name}: ${text}`);
    return json.result;
  }
}
