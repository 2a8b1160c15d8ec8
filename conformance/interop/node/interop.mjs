// npm's ws and Node's HTTP/2 (RFC 8441) against `antiphon echo`; `antiphon connect` and our client's example against both as servers.
//
//     node interop.mjs ws://HOST:PORT/ PATH-OF-THE-COMMAND PATH-OF-INTEROP_CLIENT
//
// Prints `ok NAME` or `not ok NAME: WHY` for each check; the exit status is 1 when one failed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import WebSocket, { WebSocketServer } from 'ws';

const [url, binary, client] = process.argv.slice(2);
const sizes = [0, 1, 125, 126, 65535, 65536, 1 << 20];
const limit = 1 << 22;
// Text that compresses about as well as people's does.
const words = (size) => randomBytes(size).toString('base64').slice(0, size);
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
let failures = 0;

async function check(name, work) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('took longer than 30 s')), 30_000); });
  try {
    await Promise.race([work(), late]);
    console.log(`ok ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`not ok ${name}: ${String(error.message).slice(0, 300).replaceAll('\n', ' ')}`);
  } finally {
    clearTimeout(timer);
  }
}

async function open(options = {}, protocols = []) {
  const socket = new WebSocket(url, protocols, { maxPayload: limit, ...options });
  await once(socket, 'open');
  return socket;
}

async function ask(socket, data, options) {
  const answer = once(socket, 'message');
  socket.send(data, options);
  const [reply, binaryReply] = await answer;
  return { reply, binaryReply };
}

// ws as the client of our server.
for (const [tag, perMessageDeflate] of [
  ['plain', false],
  ['deflate', { threshold: 0 }],
  ['deflate without takeover', { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true }],
  ['deflate with a window of 9 bits', { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 }],
]) {
  await check(`ws client, ${tag}: every size`, async () => {
    const socket = await open({ perMessageDeflate });
    assert.equal(socket.extensions.startsWith('permessage-deflate'), perMessageDeflate !== false);
    for (const size of sizes) {
      for (const [data, isBinary] of [[Buffer.from(words(size)), false], [randomBytes(size), true]]) {
        const { reply, binaryReply } = await ask(socket, data, { binary: isBinary });
        assert.equal(binaryReply, isBinary);
        assert.ok(reply.equals(data), `${size} octets came back as ${reply.length} others`);
      }
    }
    socket.close();
    await once(socket, 'close');
  });
  await check(`ws client, ${tag}: fragments with a ping between`, async () => {
    const socket = await open({ perMessageDeflate });
    const answer = once(socket, 'message');
    const pong = once(socket, 'pong');
    socket.send('anti', { fin: false });
    socket.ping('between');
    socket.send('', { fin: false });
    socket.send('phon', { fin: true });
    assert.equal(String((await pong)[0]), 'between');
    assert.equal(String((await answer)[0]), 'antiphon');
    socket.terminate();
  });
}
for (const [code, reason] of [[1000, ''], [1001, 'going'], [3000, 'ä'], [4999, 'r'.repeat(123)]]) {
  await check(`ws client: close ${code}`, async () => {
    const socket = await open();
    const closed = once(socket, 'close');
    socket.close(code, reason);
    assert.equal((await closed)[0], code);
  });
}
await check('ws client: subprotocol', async () => {
  const socket = await open({}, ['unknown', 'chat']);
  assert.equal(socket.protocol, 'chat');
  socket.terminate();
});

// Our client, a line a message, against a ws server.
async function connect(to, lines, ...options) {
  const child = spawn(binary, ['connect', to, '--timeout', '20s', ...options], { stdio: ['pipe', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { err += text; });
  // The command may end before it has read everything.
  child.stdin.on('error', () => {});
  child.stdin.end(lines.map((line) => `${line}\n`).join(''));
  const timer = setTimeout(() => child.kill('SIGKILL'), 25_000);
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  return { code, lines: out.split('\n').slice(0, -1), err };
}

const server = new WebSocketServer({
  host: '127.0.0.1', port: 0, maxPayload: limit, perMessageDeflate: { threshold: 0 },
  handleProtocols: (protocols) => (protocols.has('chat') ? 'chat' : false),
});
await once(server, 'listening');
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => {
    const text = String(data);
    if (text.startsWith('close ')) {
      socket.close(Number(text.slice(6)), 'as told');
    } else if (text === 'which subprotocol') {
      socket.send(socket.protocol || 'none');
    } else if (data.length > 1000) {
      socket.send(data.subarray(0, 500), { binary: isBinary, fin: false });
      socket.ping('between');
      socket.send(data.subarray(500), { binary: isBinary, fin: true });
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
});
const base = `ws://127.0.0.1:${server.address().port}/`;
const lines = ['hello', 'ä€😀', ...sizes.filter((size) => size > 1).map(words)];
for (const options of [[], ['--compression']]) {
  await check(`ws server: echo ${options.join(' ')}`, async () => {
    const found = await connect(base, lines, ...options);
    assert.equal(found.code, 0, found.err);
    assert.ok(found.lines.length === lines.length && found.lines.every((line, index) => line === lines[index]), 'the lines came back as others');
  });
}
await check('ws server: subprotocol', async () => {
  assert.deepEqual((await connect(base, ['which subprotocol'], '--subprotocol', 'chat')).lines, ['chat']);
});
for (const [code, exit] of [[1000, 0], [4001, 6]]) {
  await check(`ws server: closed with ${code}`, async () => assert.equal((await connect(base, [`close ${code}`])).code, exit));
}
server.close();

// RFC 8441: a WebSocket as a stream of HTTP/2, without TLS. The frames are written by hand here, masked as a client must.
function frame(opcode, payload) {
  assert.ok(payload.length < 126);
  const key = randomBytes(4);
  const masked = Buffer.from(payload.map((octet, index) => octet ^ key[index % 4]));
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), key, masked]);
}

async function http2Session() {
  const session = http2.connect(url.replace(/^ws/, 'http'));
  session.on('error', () => {});
  const [settings] = await once(session, 'remoteSettings');
  return { session, settings };
}

async function extendedConnect(session, headers) {
  const request = session.request({
    ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', ':scheme': 'http', ':authority': new URL(url).host,
    'sec-websocket-version': '13', ...headers,
  }, { endStream: false });
  const [response] = await once(request, 'response');
  return { request, response };
}

await check('HTTP/2: the server offers extended CONNECT', async () => {
  const { session, settings } = await http2Session();
  assert.equal(settings.enableConnectProtocol, true);
  session.close();
});
await check('HTTP/2: two sockets on one connection echo, then close', async () => {
  const { session } = await http2Session();
  for (const text of ['one', 'two']) {
    const { request, response } = await extendedConnect(session, { 'sec-websocket-protocol': 'chat' });
    assert.equal(response[':status'], 200);
    assert.equal(response['sec-websocket-protocol'], 'chat');
    assert.equal(response['sec-websocket-accept'], undefined);
    let received = Buffer.alloc(0);
    const reply = new Promise((resolve) => request.on('data', (data) => {
      received = Buffer.concat([received, data]);
      if (received.length >= 2 + text.length) resolve();
    }));
    request.write(frame(1, Buffer.from(text)));
    await reply;
    assert.deepEqual(received, Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
    received = Buffer.alloc(0);
    const ended = once(request, 'end');
    request.write(frame(8, Buffer.from([0x03, 0xe8])));
    await ended;
    assert.deepEqual(received, Buffer.from([0x88, 2, 0x03, 0xe8]));
    request.end();
  }
  session.close();
});
await check('HTTP/2: a wrong version is refused', async () => {
  const { session } = await http2Session();
  const { response } = await extendedConnect(session, { 'sec-websocket-version': '12' });
  assert.ok(response[':status'] >= 400 && response[':status'] < 500, `status ${response[':status']}`);
  session.close();
});

// Our client's example against servers that do what it asks of them.
async function interopClient(tag, to, ...options) {
  const child = spawn(client, [to, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { output += text; });
  const timer = setTimeout(() => child.kill('SIGKILL'), 300_000);
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  children.delete(child);
  for (const [, verdict, name] of output.matchAll(/^(ok|not ok) - (.*)$/gm)) {
    console.log(`${verdict} ${tag}: ${name}`);
    if (verdict === 'not ok') failures += 1;
  }
  await check(`${tag}: the client ends with 0`, () => assert.equal(code, 0));
}

function answer(socket, path) {
  const { pathname, searchParams } = new URL(path, 'http://localhost');
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  if (pathname === '/close') socket.close(Number(searchParams.get('code')), searchParams.get('reason'));
  if (pathname === '/ping') {
    socket.on('pong', (payload) => socket.send(`pong ${payload}`));
    socket.ping('are you there');
  }
}

const chat = { maxPayload: limit, handleProtocols: (protocols) => (protocols.has('chat') ? 'chat' : false) };
const folder = mkdtempSync(join(tmpdir(), 'interop-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
await once(spawn(client, ['--certificate', folder]), 'close');
const [cert, key] = ['cert.pem', 'key.pem'].map((name) => readFileSync(join(folder, name)));
const trust = ['--ca', join(folder, 'cert.pem')];

for (const [tag, perMessageDeflate, options] of [
  ['plain', false, []],
  ['deflate declined', false, ['--compression']],
  ['deflate', { threshold: 0 }, ['--compression']],
  ['deflate, a codec of its own', { threshold: 0 }, ['--compression', '--dedicated']],
  ['deflate, no window', { threshold: 0 }, ['--compression', '--window', '0']],
  ['deflate, 9 bits', { threshold: 0 }, ['--compression', '--bits', '9']],
  ['deflate, the server forgets', { threshold: 0, serverNoContextTakeover: true }, ['--compression']],
  ['deflate, the client must forget', { threshold: 0, clientNoContextTakeover: true }, ['--compression']],
  ['deflate, the server wants 10 bits', { threshold: 0, clientMaxWindowBits: 10, serverMaxWindowBits: 10 }, ['--compression']],
]) {
  const peer = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate, ...chat });
  await once(peer, 'listening');
  peer.on('connection', (socket, request) => answer(socket, request.url));
  await interopClient(`ws server, ${tag}`, `ws://127.0.0.1:${peer.address().port}/`, ...options);
  peer.close();
}

const secure = https.createServer({ cert, key }).listen(0, '127.0.0.1');
await once(secure, 'listening');
const overTls = new WebSocketServer({ server: secure, perMessageDeflate: { threshold: 0 }, ...chat });
overTls.on('connection', (socket, request) => answer(socket, request.url));
await interopClient('ws server, TLS', `wss://127.0.0.1:${secure.address().port}/`, '--compression', ...trust);
secure.close();

// RFC 8441 with Node as the server: ws frames what the stream carries. It has no public way to be given a stream.
for (const [tag, scheme, peer, options] of [
  ['HTTP/2 server', 'ws', http2.createServer({ settings: { enableConnectProtocol: true } }), []],
  ['HTTP/2 server, TLS', 'wss', http2.createSecureServer({ cert, key, settings: { enableConnectProtocol: true } }), trust],
]) {
  peer.listen(0, '127.0.0.1');
  await once(peer, 'listening');
  peer.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
      stream.respond({ ':status': 405 }, { endStream: true });
      return;
    }
    const wanted = (headers['sec-websocket-protocol'] ?? '').split(/, */).includes('chat');
    stream.respond({ ':status': 200, ...(wanted && { 'sec-websocket-protocol': 'chat' }) });
    const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 5_000 });
    socket.setSocket(stream, Buffer.alloc(0), { maxPayload: limit });
    answer(socket, headers[':path']);
  });
  await interopClient(tag, `${scheme}://127.0.0.1:${peer.address().port}/`, '--http2', ...options);
  peer.close();
}

console.log(`ws 8.23.0, node ${process.version}, ${failures} failed`);
process.exit(failures ? 1 : 0);
