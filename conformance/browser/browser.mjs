// Real Chromium against the real command: the pages, the client in pages of others, the admin page.
//
//     node browser.mjs PATH-OF-THE-COMMAND FOLDER-FOR-SCREENSHOTS [PART ...]
//
// Prints `ok NAME` or `not ok NAME: WHY` for each check; the exit status is 1 when one failed. Figures are told, not judged.
import { admin } from './admin.mjs';
import { chat } from './chat.mjs';
import { client } from './client.mjs';
import { crowd } from './crowd.mjs';
import { echo, watch } from './echo.mjs';
import { grades } from './grades.mjs';
import { load } from './load.mjs';
import { gallery } from './looks.mjs';
import { places } from './places.mjs';
import { check, failures, figure, launch } from './support.mjs';

const parts = { echo, watch, chat, client, places, admin, crowd, load, grades };
// Beside each other, since a page waits for its server most of the time; then, each alone, what is to be measured.
const stages = [[['chat', 'echo'], ['client', 'places', 'watch'], ['admin']], [['crowd']], [['load']], [['grades']]];
const chosen = process.argv.slice(4);

const seconds = (since) => ((performance.now() - since) / 1_000).toFixed(1);
const begun = performance.now();
const browser = await launch();
async function run(lane) {
  for (const name of lane.filter((name) => chosen.length === 0 || chosen.includes(name))) {
    const start = performance.now();
    await check(`${name}: all of it ran`, () => parts[name](browser));
    figure(`${name} took ${seconds(start)} s`);
  }
}
for (const lanes of stages) await Promise.all(lanes.map(run));
figure(`${gallery()} states of pages in the gallery`);
console.log(`chromium ${browser.version()}, ${failures.length} failed, ${seconds(begun)} s`);
await browser.close();
process.exit(failures.length ? 1 : 0);
