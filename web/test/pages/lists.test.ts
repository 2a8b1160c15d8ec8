// Long lists: which rows are drawn, which pages are fetched, what a ring keeps.
import { describe, expect, test } from "vitest";

import { Ring } from "../../pages/admin/lib/ring.js";
import { MAX_ROWS, pagesOf, windowOf } from "../../pages/admin/lib/window.js";

describe("the window of a list", () => {
  const view = { scroll: 0, height: 560, row: 56, total: 10_000, spare: 8 };

  test.each([
    ["at the top", {}, { first: 0, end: 18, top: 0 }],
    ["in the middle", { scroll: 56 * 5000 }, { first: 4992, end: 5018, top: 4992 * 56 }],
    ["between two rows", { scroll: 56 * 100 + 10 }, { first: 92, end: 119 }],
    ["at the end", { scroll: 56 * 10_000 }, { first: 9982, end: 10_000 }],
    ["above the top, as phones bounce", { scroll: -300 }, { first: 0, end: 18 }],
    ["of a list shorter than the view", { total: 3, scroll: 40 }, { first: 0, end: 3, size: 168 }],
    ["of nothing", { total: 0 }, { first: 0, end: 0, size: 0, top: 0 }],
    ["of more than a browser draws", { total: 5_000_000 }, { size: MAX_ROWS * 56 }],
    ["without a height", { height: 0 }, { first: 0, end: 8 }],
  ])("%s", (_, changed, expected) => {
    expect(windowOf({ ...view, ...changed })).toMatchObject(expected);
  });

  test("draws a bounded number of rows at any place", () => {
    for (let scroll = 0; scroll < 560_000; scroll += 777) {
      const { first, end } = windowOf({ ...view, scroll });
      expect(end - first).toBeLessThanOrEqual(27);
      expect(first * 56).toBeLessThanOrEqual(Math.min(scroll, 560_000 - 560));
      expect(end * 56).toBeGreaterThanOrEqual(Math.min(scroll + 560, 560_000));
    }
  });

  test.each([
    [0, 18, [0]],
    [190, 210, [0, 1]],
    [200, 400, [1]],
    [199, 601, [0, 1, 2, 3]],
    [0, 0, []],
  ])("rows %i to %i lie on pages %j", (first, end, pages) => {
    expect(pagesOf(first, end, 200)).toEqual(pages);
  });
});

describe("a ring", () => {
  test("keeps the latest, in their order", () => {
    const ring = new Ring<number>(3);
    for (let item = 1; item <= 5; item += 1) ring.push(item);
    expect(ring.toArray()).toEqual([3, 4, 5]);
    expect([ring.length, ring.lost, ring.at(0), ring.at(2), ring.at(3), ring.at(-1)]).toEqual([3, 2, 3, 5, undefined, undefined]);
  });

  test("takes older ones in front as far as there is room, the latest of them", () => {
    const ring = new Ring<number>(4);
    ring.push(8);
    ring.push(9);
    ring.prepend([5, 6, 7]);
    expect(ring.toArray()).toEqual([6, 7, 8, 9]);
    ring.prepend([4]);
    expect(ring.toArray()).toEqual([6, 7, 8, 9]);
    ring.push(10);
    expect(ring.toArray()).toEqual([7, 8, 9, 10]);
  });

  test("is empty after it was cleared, and goes on", () => {
    const ring = new Ring<number>(2);
    for (const item of [1, 2, 3]) ring.push(item);
    ring.clear();
    expect([ring.toArray(), ring.lost]).toEqual([[], 0]);
    ring.push(4);
    expect(ring.toArray()).toEqual([4]);
  });

  test("has room for one at least", () => {
    expect(() => new Ring(0)).toThrow(RangeError);
    expect(() => new Ring(Number.NaN)).toThrow(RangeError);
  });
});
