// The admin page with 10,000 connections: all are in its list, and it does not freeze while somebody scrolls through them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { enter } from './admin.mjs';
import { look } from './looks.mjs';
import { check, figure, freePort, open, until } from './support.mjs';
import { world } from './world.mjs';

// Fewer only where the machine does not let one process open as many files.
const files = Number(/Max open files\s+\d+\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity);
const count = Math.min(10_000, files - 500);

export async function crowd(browser) {
  const port = await freePort();
  const token = 'x'.repeat(8) + port + 'admin-token';
  const there = await world({
    admin: { listen: `127.0.0.1:${port}`, token },
    server: { max_connections: count + 100, max_connections_per_address: count + 100, accept_rate: 100_000, max_handshakes: 4_096 },
    websocket: { ping_interval: '0s' },
  });
  const script = fileURLToPath(new URL('crowd-of.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, there.server.url, there.server.secret, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  process.on('exit', () => child.kill('SIGKILL'));
  const complaints = [];
  const page = await open(browser, null, { name: 'crowd', complaints });
  const rows = page.locator('[data-testid=connections] [data-testid=connection-row]');
  const shown = count.toLocaleString('en');

  await check(`admin: ${shown} connections come, and the list counts them all`, async () => {
    await enter(page, `http://127.0.0.1:${port}/#/connections`, token);
    const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), exit]);
    assert.equal(line, `open ${count}`);
    await page.getByTestId('refresh').click();
    await page.getByTestId('total').filter({ hasText: shown }).waitFor();
  });
  await check(`admin: all ${shown} can be scrolled through: every row in view is the right one, and none is there twice`, async () => {
    await page.evaluate(() => {
      window.tasks = [];
      new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
    });
    const begun = performance.now();
    const stops = 40;
    const seen = new Map();
    for (let stop = 0; stop <= stops; stop += 1) {
      await page.getByTestId('connections').evaluate((list, part) => { list.scrollTop = (list.scrollHeight - list.clientHeight) * part; }, stop / stops);
      const inView = await until(`the rows of stop ${stop}`, () => page.getByTestId('connections').evaluate((list) => {
        const box = list.getBoundingClientRect();
        const all = [...list.querySelectorAll('.rows [role=row]')].filter((row) => {
          const { top, bottom } = row.getBoundingClientRect();
          return bottom > box.top + 60 && top < box.bottom;
        });
        const ready = all.length > 5 && all.every((row) => row.dataset.id);
        return ready && all.map((row) => [Number(row.getAttribute('aria-rowindex')), row.dataset.id]);
      }));
      for (const [index, id] of inView) {
        assert.ok(index >= 2 && index <= count + 1, `row ${index}`);
        assert.equal(seen.get(id) ?? index, index, 'one connection in two rows');
        seen.set(id, index);
      }
      if (stop === 0) assert.equal(inView[0][0], 2);
      if (stop === stops) assert.equal(inView.at(-1)[0], count + 1);
    }
    assert.equal(new Set(seen.values()).size, seen.size, 'two connections in one row');
    const tasks = await page.evaluate(() => window.tasks);
    const drawn = await page.locator('*').count();
    figure(`${shown} connections, ${stops} jumps through the list in ${((performance.now() - begun) / 1_000).toFixed(1)} s; ${tasks.length} tasks of the page beyond 50 ms, the longest ${Math.round(Math.max(0, ...tasks))} ms; ${drawn} elements in the page`);
    assert.ok(drawn < 2_000, `only what is in view is drawn, not ${drawn} elements`);
  });
  await check(`admin: one of ${shown} is found by name`, async () => {
    await page.getByTestId('filter-user').fill(`user-${String(Math.floor(count / 2)).padStart(5, '0')}`);
    await until('one row is left', async () => await rows.count() === 1);
    await page.getByTestId('filter-user').fill('');
    await page.getByTestId('total').filter({ hasText: shown }).waitFor();
  });
  await look(page, 'admin-crowd');
  await check('admin: no complaint in the console with so many', async () => assert.deepEqual(complaints, []));
  child.kill('SIGTERM');
  await exit;
  await page.context().close();
  await there.close();
}
