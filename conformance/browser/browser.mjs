// Real Chromium against the real command: the pages, the client in pages of others, the admin page.
//
//     node browser.mjs PATH-OF-THE-COMMAND FOLDER-FOR-SCREENSHOTS [PART ...]
//
// Prints `ok NAME` or `not ok NAME: WHY` for each check; the exit status is 1 when one failed.
import { chat } from './chat.mjs';
import { client } from './client.mjs';
import { echo } from './echo.mjs';
import { load } from './load.mjs';
import { gallery } from './looks.mjs';
import { places } from './places.mjs';
import { check, failures, figure, launch } from './support.mjs';

const chosen = process.argv.slice(4);
const parts = { echo, chat, client, places, load };
// Beside each other: a machine has two cores at least, and most of the time a page waits for the server or the other way round.
const lanes = [['echo', 'chat'], ['client', 'places'], ['load']];

const begun = performance.now();
const browser = await launch();
await Promise.all(lanes.map(async (lane) => {
  for (const name of lane.filter((name) => chosen.length === 0 || chosen.includes(name))) {
    const start = performance.now();
    await check(`${name}: all of it ran`, () => parts[name](browser));
    figure(`${name} took ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
}));
figure(`${gallery()} states of pages in the gallery`);
console.log(`chromium ${browser.version()}, ${failures.length} failed, ${((performance.now() - begun) / 1000).toFixed(1)} s`);
await browser.close();
process.exit(failures.length ? 1 : 0);
