// A client that behaves as the one in hotgo's pages does, against `antiphon serve --config`, with hotgo's tokens and with common JWTs.
//
//     node hotgo.mjs PATH-OF-THE-COMMAND
//
// Prints `ok NAME` or `not ok NAME: WHY` for each check; the exit status is 1 when one failed. Times are real and all checks run side by
// side, so that it takes as long as its longest.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import WebSocket from 'ws';

import { HotgoClient } from './client.mjs';
import { Server, hotgoToken, jwtToken, origin } from './server.mjs';

const [binary] = process.argv.slice(2);
const limit = 40_000;
const pages = new Set();
let failures = 0;

async function check(name, work) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`took longer than ${limit / 1000} s`)), limit); });
  try {
    await Promise.race([work(), late]);
    console.log(`ok ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`not ok ${name}: ${String(error.message).slice(0, 600).replaceAll('\n', ' ')}`);
  } finally {
    clearTimeout(timer);
  }
}

// A page with a user, once it is connected.
async function page(server, token, options = {}) {
  const client = new HotgoClient(server.address, () => token, { origin, ...options });
  pages.add(client);
  await client.until('open', () => client.opened > 0);
  return client;
}

// A frame as it has to be, byte for byte; T stands for the time of sending.
function exactly(frame, expected) {
  const now = Math.floor(Date.now() / 1000);
  const found = /"timestamp":(\d+)\}\n$/.exec(frame.text);
  assert.ok(found, `no timestamp, or no line feed behind it: ${JSON.stringify(frame.text)}`);
  assert.ok(Math.abs(Number(found[1]) - now) <= 45, `the timestamp is ${found[1]} at ${now}`);
  assert.equal(frame.text, expected.replace('T', found[1]));
  assert.equal(frame.isBinary, false);
}

// The keys of an answer to a request that failed, in hotgo's order, and no others.
function failed(frame, event) {
  const message = JSON.parse(frame.text);
  assert.deepEqual(Object.keys(message), ['event', 'code', 'errorMsg', 'timestamp'], frame.text);
  assert.equal(message.event, event);
  assert.equal(message.code, -1);
  assert.ok(message.errorMsg.length > 3);
  exactly(frame, `{"event":${JSON.stringify(event)},"code":-1,"errorMsg":${JSON.stringify(message.errorMsg)},"timestamp":T}\n`);
}

let users = 1000;

function checks(mode, server, token, refused) {
  const tag = (name) => `${mode}: ${name}`;
  const user = () => { users += 1; return users; };

  return [
    check(tag('a page that hears nothing asks after 5 s, is answered within 5 s, and stays'), async () => {
      const client = await page(server, token(user()));
      const begun = Date.now();
      await client.until('two answers', () => client.frames.length >= 2, 15_000);
      const [first, second] = client.pings;
      assert.ok(first - begun > 4_500 && first - begun < 6_500, `the first ping came after ${first - begun} ms`);
      assert.ok(second - first > 4_900);
      for (const frame of client.frames) exactly(frame, '{"event":"ping","code":0,"timestamp":T}\n');
      client.frames.forEach((frame, index) => assert.ok(frame.at - client.pings[index] < 1_000, 'the answer takes no second'));
      assert.deepEqual([client.opened, client.mutes, client.closes.length], [1, 0, 0]);
      client.leave();
    }),
    check(tag('any push counts as a sign of life: the page does not ask'), async () => {
      const id = user();
      const client = await page(server, token(id));
      for (let round = 0; round < 3; round += 1) {
        await sleep(3_000);
        await server.call('send', { target: { user: String(id) }, event: 'notice', data: { round } });
      }
      await client.until('three notices', () => client.notices.length === 3);
      assert.equal(client.pings.length, 0);
      client.leave();
    }),
    check(tag('join and quit, byte for byte'), async () => {
      const client = await page(server, token(user()));
      const rows = [
        ['join', { id: 'a' }, '["a"]'],
        ['join', { id: 'a' }, '["a"]'],
        ['join', { id: 5 }, '["5","a"]'],
        ['quit', { id: 'not held' }, '["5","a"]'],
        ['quit', { id: 'a' }, '["5"]'],
        ['quit', { id: 5 }, '[]'],
      ];
      for (const [event, data, tags] of rows) {
        const from = client.frames.length;
        client.send(event, data);
        exactly(await client.reply(event, from), `{"event":"${event}","data":${tags},"code":0,"timestamp":T}\n`);
      }
      client.leave();
    }),
    check(tag('a request is found whatever the case of its keys, in text and in binary, with line breaks, with keys that nobody knows'), async () => {
      const client = await page(server, token(user()));
      for (const [index, request] of [
        '{"Event":"join","DATA":{"id":"x"}}', '{"EVENT":"join","data":{"id":"x"},"more":[1]}', Buffer.from('{"event":"join","data":{"id":"x"}}'),
        '\n{\n"event":\t"join",\r\n"data":{"id":"x"}}\n',
      ].entries()) {
        client.socket.send(request);
        await client.until(`answer ${index}`, () => client.frames.length > index);
        exactly(client.frames[index], '{"event":"join","data":["x"],"code":0,"timestamp":T}\n');
      }
      client.leave();
    }),
    check(tag('a notice for a user reaches all pages of the user and nobody else'), async () => {
      const [id, other] = [user(), user()];
      const [here, there, stranger] = await Promise.all([page(server, token(id)), page(server, token(id)), page(server, token(other))]);
      const notice = { type: 3, title: 'A letter', content: '<p>ä & €</p>', id: 7 };
      const sent = await server.call('send', { target: { user: String(id) }, event: 'notice', data: notice });
      assert.deepEqual([sent.receivers, sent.queued, sent.dropped], [2, 2, 0]);
      for (const client of [here, there]) {
        await client.until('the notice', () => client.notices.length > 0);
        assert.deepEqual(client.notices, [notice]);
        const [frame] = client.frames;
        assert.deepEqual(Object.keys(JSON.parse(frame.text)), ['event', 'data', 'code', 'timestamp']);
        assert.ok(frame.text.startsWith('{"event":"notice","data":{"type":3,') && frame.text.endsWith('}\n'), frame.text);
      }
      assert.equal(stranger.frames.length, 0);
      [here, there, stranger].forEach((client) => client.leave());
    }),
    check(tag('a handler for every event runs beside the one for its own'), async () => {
      const id = user();
      const client = await page(server, token(id));
      const seen = [];
      client.on('*', (message) => seen.push(`* ${message.event}`));
      client.on('admin/order/notify', () => seen.push('replaced'));
      client.on('admin/order/notify', (message) => seen.push(message.data.orderSn));
      await server.call('send', { target: { user: String(id) }, event: 'admin/order/notify', data: { orderSn: 'A-1' } });
      await client.until('the push', () => client.frames.length > 0);
      assert.deepEqual(seen, ['A-1', '* admin/order/notify']);
      client.leave();
    }),
    check(tag('a push to a tag reaches its members'), async () => {
      const [member, other] = await Promise.all([page(server, token(user())), page(server, token(user()))]);
      const name = `${mode}-tag`;
      member.send('join', { id: name });
      await member.reply('join');
      const sent = await server.call('send', { target: { tag: name }, event: 'admin/addons/hgexample/testMessage', data: 'hello' });
      assert.equal(sent.receivers, 1);
      exactly(await member.reply('admin/addons/hgexample/testMessage'), '{"event":"admin/addons/hgexample/testMessage","data":"hello","code":0,"timestamp":T}\n');
      assert.equal(other.frames.length, 0);
      [member, other].forEach((client) => client.leave());
    }),
    check(tag('a kick comes before the Close, and the page logs out'), async () => {
      const id = user();
      const client = await page(server, token(id));
      await server.call('disconnect', { user: String(id) });
      await client.until('the end', () => client.closes.length > 0);
      exactly(client.frames.at(-1), '{"event":"kick","code":0,"timestamp":T}\n');
      assert.equal(client.closes[0].code, 3503);
      await sleep(1_500);
      assert.deepEqual([client.loggedOut, client.opened], [true, 1]);
    }),
    check(tag('a kicked user whose login stands may come back'), async () => {
      const id = user();
      const mine = token(id);
      const client = await page(server, mine);
      await server.call('disconnect', { user: String(id) });
      await client.until('the end', () => client.closes.length > 0);
      (await page(server, mine)).leave();
    }),
    check(tag('a login that is taken back ends its pages and does not connect again'), async () => {
      const id = user();
      const mine = token(id);
      const client = await page(server, mine);
      await server.call('revoke', { token: mine });
      await client.until('the end', () => client.closes.length > 0);
      exactly(client.frames.at(-1), '{"event":"kick","code":0,"timestamp":T}\n');
      assert.equal(client.closes[0].code, 3510);
      const again = new HotgoClient(server.address, () => mine, { origin });
      await again.until('a refusal', () => again.refusals.length > 0);
      refused(again.refusals[0]);
      again.leave();
    }),
    check(tag('an unknown event is answered with code -1 and no id'), async () => {
      const client = await page(server, token(user()));
      client.socket.send('{"event":"admin/no/such","id":9,"data":{"a":1}}');
      failed(await client.reply('admin/no/such'), 'admin/no/such');
      client.leave();
    }),
    check(tag('whatever hotgo drops in silence is answered with code -1, and the connection stays'), async () => {
      const client = await page(server, token(user()));
      const rows = [
        ['{"event"', ''], ['[]', ''], ['', ''], ['"text"', ''], ['{}', ''], ['{"event":""}', ''], ['{"event":7}', ''],
        ['{"event":"join","data":[1]}', 'join'], ['{"event":"join","data":"a"}', 'join'], ['{"e_vent":"join"}', ''],
        [`{"event":"join","data":{"id":"${'x'.repeat(300)}"}}`, 'join'], [`{"event":"join","data":${'{"a":'.repeat(70)}1${'}'.repeat(70)}}`, undefined],
      ];
      for (const [index, [request, event]] of rows.entries()) {
        client.socket.send(request);
        await client.until(`an answer to ${request.slice(0, 40)}`, () => client.frames.length > index);
        failed(client.frames[index], event ?? JSON.parse(client.frames[index].text).event);
      }
      client.send('join', { id: 'still here' });
      exactly(await client.reply('join', rows.length), '{"event":"join","data":["still here"],"code":0,"timestamp":T}\n');
      assert.equal(client.opened, 1);
      client.leave();
    }),
    check(tag('200 events at once are answered in their order'), async () => {
      const client = await page(server, token(user()));
      for (let index = 0; index < 200; index += 1) {
        if (index % 2) client.send(`no/such/${index}`);
        else client.send(index % 4 ? 'quit' : 'join', { id: `t${index - (index % 4)}` });
      }
      await client.until('200 answers', () => client.frames.length >= 200);
      client.frames.forEach(({ text }, index) => {
        const message = JSON.parse(text);
        assert.equal(message.event, index % 2 ? `no/such/${index}` : index % 4 ? 'quit' : 'join');
        assert.equal(message.code, index % 2 ? -1 : 0, text);
        if (index % 2 === 0) assert.deepEqual(message.data, index % 4 ? [] : [`t${index}`]);
      });
      assert.equal(client.frames.length, 200);
      client.leave();
    }),
    check(tag('who sends too much is told so, and others do not notice'), async () => {
      const [loud, calm] = await Promise.all([page(server, token(user())), page(server, token(user()))]);
      for (let index = 0; index < 300; index += 1) loud.send('join', { id: 'a' });
      await loud.until('300 answers', () => loud.frames.length >= 300);
      const codes = loud.frames.map(({ text }) => JSON.parse(text).code);
      assert.ok(codes.slice(0, 200).every((code) => code === 0), 'the first 200 are within the burst');
      assert.ok(codes.includes(-1), 'what came too fast is refused');
      calm.send('join', { id: 'a' });
      await calm.reply('join', 0, 2_000);
      assert.equal(loud.closes.length, 0);
      [loud, calm].forEach((client) => client.leave());
    }),
    check(tag('characters that HTML minds are escaped where hotgo does'), async () => {
      const client = await page(server, token(user()));
      client.send('<a>&');
      await client.until('the answer', () => client.frames.length > 0);
      assert.ok(client.frames[0].text.startsWith('{"event":"\\u003ca\\u003e\\u0026","code":-1,'), client.frames[0].text);
      client.leave();
    }),
    check(tag('a message of 2 MB ends its own connection with 1009'), async () => {
      const client = await page(server, token(user()));
      client.socket.send(`{"event":"join","data":{"id":"${'x'.repeat(2_000_000)}"}}`);
      await client.until('the end', () => client.closes.length > 0);
      assert.equal(client.closes[0].code, 1009);
      client.leave();
    }),
    check(tag('a token that is no good: refused as the mode says, and a good one later is let in'), async () => {
      const good = token(user());
      let mine = `${good.slice(0, -4)}AAAA`;
      const client = new HotgoClient(server.address, () => mine, { origin });
      await client.until('two refusals', () => client.refusals.length >= 2);
      client.refusals.forEach(refused);
      assert.ok(client.refusals.every(({ body }) => !body.includes(mine)), 'the answer does not repeat the token');
      mine = good;
      await client.until('open', () => client.opened > 0);
      client.leave();
    }),
    check(tag('a token that comes a moment late: the page looks a second time'), async () => {
      let mine;
      const client = new HotgoClient(server.address, () => mine, { origin });
      mine = token(user());
      await client.until('open', () => client.opened > 0);
      client.leave();
    }),
    check(tag('no token at all is refused as the mode says'), async () => {
      const client = new HotgoClient(server.address, () => ' ', { origin });
      await client.until('a refusal', () => client.refusals.length > 0);
      refused(client.refusals[0]);
      client.leave();
    }),
    check(tag('the token in the header Authorization, with and without Bearer; a bad one wins over a good query'), async () => {
      const mine = token(user());
      for (const authorization of [mine, `Bearer ${mine}`]) {
        const socket = new WebSocket(server.address, { headers: { authorization } });
        await once(socket, 'open');
        socket.terminate();
      }
      const socket = new WebSocket(`${server.address}?authorization=${mine}`, { headers: { authorization: `${mine}x` } });
      socket.on('error', () => {});
      await once(socket, 'unexpected-response');
      socket.terminate();
    }),
    check(tag('a page of another origin gets 403'), async () => {
      const client = new HotgoClient(server.address, () => token(user()), { origin: 'http://evil.example' });
      await client.until('a refusal', () => client.refusals.length > 0);
      assert.equal(client.refusals[0].status, 403);
      client.leave();
    }),
    check(tag('who is online, by user, with as many connections as pages'), async () => {
      const id = user();
      const both = await Promise.all([page(server, token(id)), page(server, token(id))]);
      const online = await server.call('connections', { user: String(id) });
      assert.equal(online.total, 2);
      assert.ok(online.connections.every((connection) => connection.user === String(id) && connection.wire === 'v1'));
      both[0].leave();
      await both[1].until('one is left', () => true);
      for (let round = 0; ; round += 1) {
        const { total } = await server.call('connections', { user: String(id) });
        if (total === 1) break;
        assert.ok(round < 50, `still ${total}`);
        await sleep(100);
      }
      both[1].leave();
    }),
    check(tag("hotgo's own call: a message to a tag, wrapped once"), async () => {
      const member = await page(server, token(user()));
      member.send('join', { id: `${mode}-letters` });
      await member.reply('join');
      const body = { tag: `${mode}-letters`, response: { event: 'letter', data: { n: 1 }, code: 0, timestamp: 1 } };
      const answer = await server.hotgo('socket/send/toTag', { body });
      assert.deepEqual([answer.code, answer.data], [0, null]);
      exactly(await member.reply('letter'), '{"event":"letter","data":{"n":1},"code":0,"timestamp":T}\n');
      for (const [as, wrong, code] of [
        ['nobody', body, 61], ['watcher', body, 61], ['backend', { tag: 'a' }, 51], ['backend', { tag: '', response: { event: 'a' } }, 51],
        ['backend', { tag: 'a', response: { event: '$connected' } }, 51], ['backend', [], 51],
      ]) assert.equal((await server.hotgo('socket/send/toTag', { as, body: wrong })).code, code, JSON.stringify(wrong));
      assert.equal(member.frames.filter(({ text }) => text.includes('letter"') && !text.includes('join')).length, 1);
      member.leave();
    }),
    check(tag("hotgo's own calls: who is online, and offline with one of them"), async () => {
      const id = user();
      const headers = { 'user-agent': 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36' };
      const clients = await Promise.all([page(server, token(id), { headers }), page(server, token(id), { headers })]);
      const query = `admin/monitor/userOnlineList?page=1&pageSize=10&userId=${id}`;
      const { code, data } = await server.hotgo(query, { method: 'GET', as: 'watcher' });
      assert.equal(code, 0);
      assert.deepEqual([data.page, data.pageSize, data.pageCount, data.totalCount, data.list.length], [1, 10, 1, 2, 2]);
      const [row] = data.list;
      assert.deepEqual([row.userId, row.ip, row.os, row.browser], [id, '127.0.0.1', 'Windows', 'Chrome']);
      assert.ok(row.firstTime > 1.7e9 && row.heartbeatTime >= row.firstTime, JSON.stringify(row));
      if (mode === 'hotgo') {
        assert.deepEqual([row.username, row.app], [`user${id}`, 'admin']);
        const named = await server.hotgo(`admin/monitor/userOnlineList?username=user${id}&pageSize=1&page=2`, { method: 'GET' });
        assert.deepEqual([named.data.list.length, named.data.pageCount, named.data.totalCount], [1, 2, 2]);
      }
      assert.equal((await server.hotgo('admin/monitor/userOnlineList?pageSize=201', { method: 'GET' })).code, 51);
      assert.equal((await server.hotgo('admin/monitor/userOnlineList', { method: 'GET', as: 'nobody' })).code, 61);
      const offline = (form, as) => server.hotgo('admin/monitor/userOffline', { body: form, as });
      assert.equal((await offline({ id: row.id }, 'watcher')).code, 61);
      assert.equal((await offline({ id: row.id })).code, 0);
      await Promise.race(clients.map((client) => client.until('a kick', () => client.loggedOut && client.closes.length > 0)));
      assert.equal(clients.filter((client) => client.loggedOut).length, 1);
      assert.deepEqual([(await offline({ id: row.id })).code, (await offline({ id: 'x' })).code, (await offline({})).code], [-1, -1, 51]);
      clients.forEach((client) => client.leave());
    }),
  ];
}

const refusals = {
  hotgo({ status, body }) {
    assert.equal(status, 200);
    const answer = JSON.parse(body);
    assert.deepEqual(Object.keys(answer), ['code', 'message', 'timestamp', 'traceID'], body);
    assert.equal(answer.code, 61);
    assert.ok(answer.message.length > 3 && answer.traceID.length > 3 && answer.timestamp > 1.7e9, body);
  },
  jwt({ status, body, headers }) {
    assert.equal(status, 401);
    const { error } = JSON.parse(body);
    assert.equal(error.code, 101);
    assert.match(error.reason, /^token_/);
    assert.match(headers['www-authenticate'], /^Bearer/);
  },
};

// Ends of logins, and of servers.
function ends(mode, token, refused) {
  return [
    check(`${mode}: a login that is over closes the socket with 3004, and does not connect again`, async () => {
      const server = await new Server(binary, mode, mode === 'hotgo' ? '[auth.sessions]\nexpires = "3s"\n' : 'leeway = "0s"\n').start();
      const client = await page(server, token(1, mode === 'jwt' ? { exp: Math.floor(Date.now() / 1000) + 4 } : {}));
      await client.until('the end', () => client.closes.length > 0);
      assert.equal(client.closes[0].code, 3004);
      assert.equal(client.loggedOut, false, 'an end is no kick');
      await client.until('a refusal', () => client.refusals.length > 0);
      refused(client.refusals[0]);
      client.leave();
      assert.equal(await server.stop(), 0);
    }),
    check(`${mode}: a server that goes says so, and its pages are back a second after it`, async () => {
      const server = await new Server(binary, mode).start();
      const clients = await Promise.all([1, 2, 3, 4, 5].map((id) => page(server, token(id))));
      clients.forEach((client) => client.send('join', { id: 'a' }));
      await Promise.all(clients.map((client) => client.reply('join')));
      const before = clients.map((client) => client.frames.length);
      assert.equal(await server.stop(), 0);
      for (const client of clients) {
        await client.until('the end', () => client.closes.length > 0);
        assert.ok([1001, 1012].includes(client.closes[0].code), `closed with ${client.closes[0].code}`);
        assert.equal(client.loggedOut, false, 'a restart is no kick');
      }
      await server.start();
      await Promise.all(clients.map((client) => client.until('open again', () => client.opened >= 2)));
      // Tags went with the socket: the page joins anew.
      clients.forEach((client) => client.send('join', { id: 'b' }));
      const answers = await Promise.all(clients.map((client, index) => client.reply('join', before[index])));
      answers.forEach((answer) => exactly(answer, '{"event":"join","data":["b"],"code":0,"timestamp":T}\n'));
      assert.equal((await server.call('connections', {})).total, 5);
      await server.stop('SIGKILL');
      await Promise.all(clients.map((client) => client.until('the end of a server that was killed', () => client.closes.some(({ code }) => code === 1006))));
      clients.forEach((client) => client.leave());
    }),
  ];
}

const [hotgo, jwt] = await Promise.all([new Server(binary, 'hotgo').start(), new Server(binary, 'jwt').start()]);

await Promise.all([
  ...checks('hotgo', hotgo, hotgoToken, refusals.hotgo),
  ...checks('jwt', jwt, jwtToken, refusals.jwt),
  ...ends('hotgo', hotgoToken, refusals.hotgo),
  ...ends('jwt', jwtToken, refusals.jwt),
]);

// To everybody: alone, for every page of the other checks would hear it.
for (const [server, token, mode] of [[hotgo, hotgoToken, 'hotgo'], [jwt, jwtToken, 'jwt']]) {
  await check(`${mode}: a notice for everybody reaches all, with its time`, async () => {
    const clients = await Promise.all([1, 2, 3].map((id) => page(server, token(id))));
    const sent = await server.call('send', { target: { all: true }, event: 'notice', data: { type: 1, title: 'Maintenance' } });
    assert.ok(sent.receivers >= 3);
    for (const client of clients) {
      exactly(await client.reply('notice'), '{"event":"notice","data":{"type":1,"title":"Maintenance"},"code":0,"timestamp":T}\n');
      client.leave();
    }
  });
  await check(`${mode}: no token and no secret in the log`, async () => {
    assert.ok(!/eyJ[\w-]{10,}\.eyJ/.test(server.log), 'a token stands in the log');
  });
  await check(`${mode}: the server ends on SIGTERM with exit code 0`, async () => assert.equal(await server.stop(), 0));
}
pages.forEach((client) => client.leave());
console.log(`node ${process.version}, ${failures} failed`);
process.exit(failures ? 1 : 0);
