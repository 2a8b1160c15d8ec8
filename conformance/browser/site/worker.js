// The client in a worker: dedicated or shared, it connects, joins a room and tells what it hears.
import { Client } from '/antiphon.js';

const begin = (port) => {
  port.onmessage = ({ data: { url, token, room } }) => {
    const client = new Client(url, { token });
    client.on('$state', ({ state }) => port.postMessage({ state }));
    client.on('message', (data) => port.postMessage({ heard: data }));
    client.connect();
    client.join(room).then(async () => port.postMessage({ joined: await client.request('test/echo', room) }));
  };
};
if ('onconnect' in self) self.onconnect = ({ ports: [port] }) => begin(port);
else begin(self);
