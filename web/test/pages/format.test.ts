// Numbers, sizes and times in both languages; that both have every text.
// @vitest-environment happy-dom
import { describe, expect, test } from "vitest";

import { formats } from "../../pages/admin/lib/format.js";
import { en, isKey, type Key, say, TABLES, zh } from "../../pages/admin/texts.js";

const english = formats("en");
const chinese = formats("zh");

describe("numbers", () => {
  test.each([
    [0, "0 B"], [999, "999 B"], [1000, "1 KiB"], [1536, "1.5 KiB"], [102_400, "100 KiB"], [1024 ** 2 * 2.25, "2.3 MiB"],
    [1024 ** 3, "1 GiB"], [1024 ** 5 * 5000, "5,000 PiB"], [0.4, "0 B"],
  ])("%d bytes are %s", (value, text) => expect(english.bytes(value)).toBe(text));

  test("are grouped, and short where they would be long", () => {
    expect([english.number(1234567.8), english.short(99_999), english.short(1_234_567)]).toEqual(["1,234,568", "99,999", "1.23M"]);
    expect([chinese.number(12345), chinese.short(1_234_567)]).toEqual(["12,345", "123万"]);
    expect(english.percent(0.1234)).toBe("12.3%");
  });
});

describe("times", () => {
  const now = 1_795_177_846_000;
  test.each([
    [0, "now", "现在"],
    [-4000, "now", "现在"],
    [1500, "1s ago", "1秒前"],
    [59_999, "59s ago", "59秒前"],
    [60_000, "1m ago", "1分钟前"],
    [7_300_000, "2h ago", "2小时前"],
    [3 * 86_400_000, "3d ago", "3天前"],
  ])("%d ms ago", (past, inEnglish, inChinese) => {
    expect(english.ago(now - past, now)).toBe(inEnglish);
    expect(chinese.ago(now - past, now)).toBe(inChinese);
  });

  test.each([
    [0, "0s"], [999, "0s"], [1000, "1s"], [61_000, "1m 1s"], [60_000, "1m"], [3_725_000, "1h 2m"], [90_061_000, "1d 1h"], [86_400_000, "1d"],
  ])("%d ms last %s", (length, text) => expect(english.span(length)).toBe(text));

  test("of the clock count to 24, from 00", () => {
    expect(english.clock(new Date(2026, 10, 21, 0, 5, 9).getTime())).toBe("00:05:09");
    expect(chinese.clock(new Date(2026, 10, 21, 23, 5, 9).getTime())).toBe("23:05:09");
    expect(english.date(new Date(2026, 10, 21, 14, 5, 9).getTime())).toContain("Nov 21");
  });
});

describe("texts", () => {
  const keys = Object.keys(en) as Key[];
  const holes = (text: string): string[] => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? ""))].sort();

  test("are the same keys in both languages", () => expect(Object.keys(zh)).toEqual(keys));

  test("say something in both, with the same to fill in", () => {
    for (const key of keys) {
      for (const table of Object.values(TABLES)) expect(table[key].trim(), key).not.toBe("");
      expect(holes(zh[key]), key).toEqual(holes(en[key]));
      expect(zh[key], key).not.toContain("|");
    }
  });

  test("are translated", () => {
    for (const key of keys.filter((name) => !["cpu", "language"].includes(name))) {
      expect(zh[key], key).toMatch(/\p{Script=Han}/u);
      expect(en[key], key).not.toMatch(/\p{Script=Han}/u);
    }
  });

  test("have a form for one and one for the others", () => {
    expect(say("en", "nUsers", { n: 1 })).toBe("1 user");
    expect(say("en", "nUsers", { n: "12,345", count: 12_345 })).toBe("12,345 users");
    expect(say("zh", "nUsers", { n: 1 })).toBe("1 个用户");
    expect(say("en", "kickUser")).toBe("All connections of user ");
  });

  test("are found by their key alone", () => {
    expect([isKey("code_3008"), isKey("code_9999"), isKey("toString")]).toEqual([true, false, false]);
  });
});
