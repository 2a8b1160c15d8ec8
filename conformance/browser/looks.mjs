// How a page looks, in every state in which a test shows it: pictures, wide and on a phone, light and dark; no accessibility
// violation that axe-core finds in any of them; nothing that is wider than the screen. At the end a page with all the pictures.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { check, place, read } from './support.mjs';

const [, screenshots = 'screenshots'] = process.argv.slice(2);
const axe = read('node_modules/axe-core/axe.min.js').toString();
const shapes = [['wide', 1280, 800], ['phone', 390, 844]];

export const picture = (page, name) => page.screenshot({ path: join(place(screenshots), `${name}.png`) });

// `name` is PAGE-STATE. `before` brings the state about again where a change of the screen's size ends it.
export async function look(page, name, { before = () => {} } = {}) {
  await check(`${name}: looks right to axe-core in light and dark, wide and on a phone, and is not wider than the screen`, async () => {
    const problems = [];
    for (const [shape, width, height] of shapes) {
      await page.setViewportSize({ width, height });
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await before();
        await settled(page);
        await picture(page, `${name}-${shape}-${colorScheme}`);
        const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        if (scroll > client) problems.push(`${shape}: ${scroll} wide on a screen of ${client}`);
        problems.push(...(await violations(page)).map((problem) => `${shape}, ${colorScheme}: ${problem}`));
      }
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ colorScheme: 'light' });
    // What follows sees the page as it was before.
    await settled(page);
    assert.deepEqual(problems, []);
  });
}

// Colours are judged when nothing moves any more.
const settled = (page) => page.evaluate(async () => {
  await document.fonts.ready;
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const endless = (animation) => animation.effect?.getComputedTiming().endTime === Infinity;
  await Promise.allSettled(document.getAnimations().filter((animation) => !endless(animation)).map((animation) => animation.finished));
});

async function violations(page) {
  await page.evaluate(`if (!window.axe) { ${axe} }`);
  const found = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ['violations'] })).violations
    .map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => `${node.target} ${node.any[0]?.message ?? node.failureSummary}`) })));
  return found.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).join(' | ')}`);
}

// A page for people with all the pictures, by page and state.
export function gallery() {
  const groups = new Map();
  for (const file of readdirSync(place(screenshots)).filter((file) => file.endsWith('.png')).sort()) {
    const name = file.slice(0, -'.png'.length);
    const group = name.replace(/-(?:wide|phone|small|middle)?-?(?:light|dark)$/, '');
    groups.set(group, [...groups.get(group) ?? [], name]);
  }
  const figures = (names) => names.map((name) => (
    `<figure><a href="${name}.png"><img src="${name}.png" alt="${name}" loading="lazy"></a><figcaption>${name}</figcaption></figure>`
  )).join('\n');
  const parts = [...groups].map(([group, names]) => `<section><h2>${group}</h2><div>\n${figures(names)}\n</div></section>`);
  const style = 'body{font:15px/1.5 system-ui,sans-serif;margin:2rem;background:#f4f4f6;color:#222}h2{margin:2rem 0 .5rem;font-size:1.1rem}'
    + 'div{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}figure{margin:0}img{height:360px;border:1px solid #ccc;border-radius:6px;background:#fff}'
    + 'figcaption{font-size:.8rem;color:#555}';
  writeFileSync(join(screenshots, 'index.html'), `<!doctype html><html lang="en"><meta charset="utf-8"><title>antiphon: every page and state</title>`
    + `<style>${style}</style><h1>Every page and state</h1>\n${parts.join('\n')}\n</html>\n`);
  return groups.size;
}
