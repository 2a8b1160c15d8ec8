// Lighthouse on the pages that a person opens first: accessibility and best practices are 100. Its timings are not asked for.
import assert from 'node:assert/strict';

import lighthouse from 'lighthouse';

import { check, freePort, launch, serve, stop } from './support.mjs';
import { world } from './world.mjs';

export async function grades() {
  const demo = await serve([]);
  const there = await world({ admin: { listen: `127.0.0.1:${await freePort()}`, token: 'a-token-for-lighthouse' } });
  const pages = { echo: demo.page, chat: new URL('/chat?name=ada&room=tea', demo.page).href, 'admin login': `http://${there.config.admin.listen}/` };
  const port = await freePort();
  const browser = await launch({ args: [`--remote-debugging-port=${port}`] });
  for (const [name, url] of Object.entries(pages)) {
    await check(`${name}: Lighthouse gives 100 for accessibility and for best practices`, async () => {
      const { lhr } = await lighthouse(url, { port, onlyCategories: ['accessibility', 'best-practices'], logLevel: 'error' });
      const grades = Object.values(lhr.categories).map(({ id, score }) => `${id} ${Math.round(score * 100)}`);
      const bad = Object.values(lhr.audits).filter(({ score, scoreDisplayMode }) => score !== null && score < 1 && scoreDisplayMode !== 'informative')
        .map(({ id, title, details }) => `${id}: ${title} ${JSON.stringify(details?.items ?? '').slice(0, 300)}`);
      assert.deepEqual(grades, ['accessibility 100', 'best-practices 100'], bad.join('; '));
    });
  }
  await browser.close();
  await stop(demo.child);
  await there.close();
}
