// Much at once: what a page feels of 10,000 messages in a second.
import assert from 'node:assert/strict';

import { check, figure, until } from './support.mjs';
import { world } from './world.mjs';

const rate = 10_000;
const seconds = 5;
const beat = 20;

export async function load(browser) {
  const there = await world({ outbox: { max_messages: 100_000, max_bytes: '64MiB' } });
  const { server } = there;
  const page = await there.page(browser, 'load');
  await check(`load: ${rate} messages a second for ${seconds} s all arrive in Chromium, in order`, async () => {
    await page.evaluate(([url, token]) => {
      const watch = window.watch = { count: 0, wrong: 0, tasks: [], gaps: [] };
      new PerformanceObserver((list) => watch.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
      let last = performance.now();
      const frame = (now) => { watch.gaps.push(now - last); last = now; watch.frame = requestAnimationFrame(frame); };
      watch.frame = requestAnimationFrame(frame);
      window.make('load', url, { token });
      const { client } = window.kept('load');
      client.on('tick', (number) => { if (number !== watch.count) watch.wrong += 1; watch.count += 1; watch.last = performance.now(); watch.first ??= watch.last; });
      return client.join('load');
    }, [server.url, await server.token('load')]);
    const each = (rate * beat) / 1_000;
    const total = rate * seconds;
    const begun = performance.now();
    for (let sent = 0; sent < total; sent += each) {
      const commands = Array.from({ length: each }, (_, turn) => ({ publish: { channel: 'load', event: 'tick', data: sent + turn } }));
      // One after the other: two at a time may overtake each other.
      await server.api('batch', { commands });
      await until('the next beat', () => performance.now() - begun >= ((sent + each) / rate) * 1_000);
    }
    await page.waitForFunction((total) => window.watch.count >= total, total);
    const { count, wrong, tasks, gaps, first, last } = await page.evaluate(() => { cancelAnimationFrame(window.watch.frame); return window.watch; });
    const longest = (list) => Math.round(Math.max(0, ...list));
    figure(`${count} messages in ${((last - first) / 1_000).toFixed(1)} s; ${tasks.length} tasks of the page beyond 50 ms, the longest ${longest(tasks)} ms; longest time between two frames ${longest(gaps)} ms`);
    assert.deepEqual([count, wrong], [total, 0]);
  });
  await page.context().close();
  await there.close();
}
