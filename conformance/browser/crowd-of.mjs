// Many connections that do nothing, in a process of their own: `node crowd-of.mjs WEBSOCKET-URL SECRET COUNT`. Each is a user of its
// own. Says `open COUNT` when all are open, and holds them until it is ended.
import { connect } from 'node:net';

import { jwt } from './support.mjs';

const [url, secret, count] = process.argv.slice(2);
const { hostname, port, host, pathname } = new URL(url);
function token(number) {
  const name = `user-${String(number).padStart(5, '0')}`;
  return jwt(secret, { sub: name, exp: Math.floor(Date.now() / 1_000) + 3_600, jti: name, info: { name: `Person ${number}` } });
}

function one(number) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(
      `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n`
      + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: antiphon.v2.json\r\n'
      + `User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36\r\nAuthorization: Bearer ${token(number)}\r\n\r\n`,
    ));
    socket.once('error', reject);
    socket.once('data', (data) => {
      if (data.toString('latin1').startsWith('HTTP/1.1 101')) resolve(socket.on('data', () => {}));
      else reject(new Error(data.toString('latin1')));
    });
  });
}

let next = 0;
// At most so many handshakes at a time.
await Promise.all(Array.from({ length: 64 }, async () => {
  while (next < Number(count)) {
    next += 1;
    await one(next);
  }
}));
console.log(`open ${count}`);
setInterval(() => {}, 60_000);
process.on('SIGTERM', () => process.exit(0));
