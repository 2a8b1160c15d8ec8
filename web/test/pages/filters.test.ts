// Filters, addresses, user agents, and the columns of charts.
import { describe, expect, test } from "vitest";

import { type Entry, type EntryType, type Frame, type Sample } from "../../pages/admin/api.js";
import { agentOf } from "../../pages/admin/lib/agent.js";
import { entryMatches, filterOf, frameMatches, inputOf, rangeOf, timeOf } from "../../pages/admin/lib/filter.js";
import { hashOf, parseRoute, tokenOf } from "../../pages/admin/lib/route.js";
import { binned, closeCodes, closesOf, columns, recent, stacked } from "../../pages/admin/lib/series.js";
import { groupsOf } from "../../pages/admin/lib/settings.js";

describe("the filter of connections", () => {
  const now = new Date(2026, 10, 21, 14, 30).getTime();

  test("has what the address has, and nothing empty or unknown", () => {
    expect(filterOf({ user: " 42 ", name: "", c: "x", show: "y", tag: "room:1" }, now)).toEqual({ user: "42", tag: "room:1" });
  });

  test.each([
    [{ range: "15m" }, { since: now - 900_000 }],
    [{ range: "today" }, { since: new Date(2026, 10, 21).getTime() }],
    [{ range: "yesterday" }, { since: new Date(2026, 10, 20).getTime(), until: new Date(2026, 10, 21).getTime() }],
    [{ range: "never" }, {}],
    [{ since: "2026-11-21T08:00", until: "2026-11-21T09:30" },
      { since: new Date(2026, 10, 21, 8).getTime(), until: new Date(2026, 10, 21, 9, 30).getTime() }],
    [{ since: "yesterday", until: "2026-99-99T00:00" }, {}],
    [{ range: "1h", since: "2026-11-21T08:00" }, { since: now - 3_600_000 }],
  ])("%j", (params, filter) => expect(filterOf(params as Record<string, string>, now)).toEqual(filter));

  test("begins days where the clock is put forward or back, too", () => {
    for (let day = 0; day < 366; day += 1) {
      const noon = new Date(2026, 0, 1 + day, 12).getTime();
      const { since, until } = rangeOf("yesterday", noon);
      expect([new Date(since).getHours(), new Date(until ?? 0).getHours()]).toEqual([0, 0]);
      expect(rangeOf("today", noon).since).toBe(until);
    }
  });

  test("goes through the field of a form unchanged", () => {
    expect(inputOf(now)).toBe("2026-11-21T14:30");
    expect(timeOf(inputOf(now))).toBe(now);
  });
});

describe("the filter of the log", () => {
  const entry: Entry = { seq: 1, at: 0, type: "disconnected", user: "Ada", address: "10.0.0.7", code: 3008, reason: "slow", by: "server" };
  const any = new Set<EntryType>();
  test.each([
    ["", true], ["ada", true], ["3008", true], ["10.0", true], [" SERVER ", true], ["disconnected", false], ["bob", false],
  ])("%j", (text, matches) => expect(entryMatches(entry, any, text)).toBe(matches));

  test("takes the chosen types", () => {
    expect(entryMatches(entry, new Set(["disconnected"]), "")).toBe(true);
    expect(entryMatches(entry, new Set(["connected"]), "")).toBe(false);
    expect(entryMatches({ seq: 2, at: 0, type: "admin", detail: "user 42" }, any, "user 42")).toBe(true);
  });

  test("of frames looks at direction, kind and text", () => {
    const frame: Frame = { seq: 1, at: 0, direction: "in", kind: "text", bytes: 2, text: "Hi", cut: false };
    expect([frameMatches(frame, "", "hi"), frameMatches(frame, "out", ""), frameMatches(frame, "in", "tex"), frameMatches(frame, "", "no")])
      .toEqual([true, false, true, false]);
  });
});

describe("the address", () => {
  test.each([
    ["", "overview", {}],
    ["#/", "overview", {}],
    ["#/nowhere?a=1", "overview", { a: "1" }],
    ["#/connections?user=a%26b&name=%E7%8E%8B&tag=", "connections", { user: "a&b", name: "王" }],
    ["#/tags?tag=what?", "tags", { tag: "what" }],
    ["#/log?types=admin,left", "log", { types: "admin,left" }],
  ])("%s", (hash, view, params) => expect(parseRoute(hash)).toEqual({ view, params }));

  test("goes there and back", () => {
    const params = { user: "a b&c=d#e?f%", tag: "房间:1" };
    expect(parseRoute(hashOf("tags", params))).toEqual({ view: "tags", params });
    expect(hashOf("nodes", { a: undefined, b: "" })).toBe("#/nodes");
  });

  test("holds a token once", () => {
    expect([tokenOf("#token=a%2Bb"), tokenOf("#/overview"), tokenOf("")]).toEqual(["a+b", undefined, undefined]);
  });
});

describe("user agents", () => {
  test.each([
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", "Chrome 142", "Windows"],
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0", "Edge 131", "Windows"],
    ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", "Safari 18", "macOS"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", "Safari 17", "iOS 17"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0 Mobile/15E148 Safari/604.1", "Chrome 131", "iOS 17"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 MicroMessenger/8.0.42(0x18002a2f) NetType/WIFI Language/zh_CN", "WeChat 8.0", "iOS 16"],
    ["Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36", "Samsung Internet 25", "Android 14"],
    ["Mozilla/5.0 (Linux; Android 13; Pixel 7; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0.0.0 Mobile Safari/537.36", "Android WebView 120", "Android 13"],
    ["Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox 133", "Ubuntu"],
    ["Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", "Chrome 120", "ChromeOS"],
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36", "Chrome (headless) 131", "Linux"],
    ["Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer 11", "Windows 7"],
    ["Python/3.11 websockets/14.1", "Python 3.11", ""],
    ["okhttp/4.12.0", "okhttp 4.12", ""],
    ["Go-http-client/1.1", "Go-http-client 1.1", ""],
    ["Dart", "Dart", ""],
    ["Mozilla/5.0 (compatible)", "", ""],
    ["()", "", ""],
    ["", "", ""],
  ])("%s", (text, browser, system) => expect(agentOf(text)).toEqual({ browser, system }));

  test("may be absent", () => expect(agentOf(undefined)).toEqual({ browser: "", system: "" }));
});

describe("charts", () => {
  const at = (second: number, closes: Record<string, number> = {}): Sample => ({ at: second * 1000, connections: second, closes }) as Sample;

  test("show the range before the latest sample, with a hole where samples are missing", () => {
    const samples = [1, 50, 100, 101, 110, 111].map((second) => at(second));
    const found = recent(samples, 20_000);
    expect(found.map((sample) => sample.at / 1000)).toEqual([100, 101, 102, 110, 111]);
    expect(columns(found, [(sample) => sample.connections])).toEqual([[100, 101, 102, 110, 111], [100, 101, null, 110, 111]]);
    expect(recent([], 1000)).toEqual([]);
  });

  test("show no second twice, and none before another", () => {
    expect(recent([at(1), at(1), at(3), at(2), at(4)], 60_000).map((sample) => sample.at / 1000)).toEqual([1, 3, 4]);
  });

  test("name the frequent close codes and count the others together", () => {
    const samples = [at(1, { "1000": 5, "3008": 1 }), at(2, { "1001": 9, "4001": 1 }), { at: 3000 }];
    expect(closeCodes(samples, 6)).toEqual(["1000", "1001", "3008", "4001"]);
    expect(closeCodes(samples, 3)).toEqual(["1000", "1001", "other"]);
    expect(closesOf(at(1, { "1000": 5, "3008": 1, "4001": 2 }), "other", ["1000", "1001"])).toBe(3);
    expect(closesOf(at(1, {}), "1000", [])).toBe(0);
  });

  test("sum closes over spans of the clock", () => {
    const bins = binned([at(8, { "1000": 1 }), at(9, { "1000": 2 }), at(10, { "1001": 4 }), { at: 11_000 }, at(12, { "1001": 1 })], 10);
    expect(bins.map((bin) => [bin.at, bin.closes])).toEqual([[0, { "1000": 3 }], [10_000, { "1001": 5 }]]);
  });

  test("stack columns, and leave holes", () => {
    expect(stacked([[1, 2], [1, null], [2, null], [3, 0]])).toEqual([[1, 2], [1, null], [3, null], [6, 0]]);
  });
});

describe("settings", () => {
  const rows = [
    { key: "dev", value: "false", source: null, secret: false, about: "For development" },
    { key: "auth.secret", value: "***", source: "file", secret: true, about: "Signs tokens" },
    { key: "auth.cookie", value: null, source: null, secret: false, about: "" },
    { key: "limits.rate", value: "100", source: "environment", secret: false, about: "" },
  ];
  const names = (search: string, changed = false) => groupsOf(rows, search, changed).map(([name, found]) => [name, found.map((row) => row.key)]);

  test("stand under their table", () => {
    expect(names("")).toEqual([["", ["dev"]], ["auth", ["auth.secret", "auth.cookie"]], ["limits", ["limits.rate"]]]);
  });

  test("are found by name, value, words and source; secrets not by their value", () => {
    expect(names("RATE")).toEqual([["limits", ["limits.rate"]]]);
    expect(names("signs")).toEqual([["auth", ["auth.secret"]]]);
    expect(names("environment")).toEqual([["limits", ["limits.rate"]]]);
    expect(names("***")).toEqual([]);
  });

  test("are only those that somebody has set, if asked", () => {
    expect(names("", true)).toEqual([["auth", ["auth.secret"]], ["limits", ["limits.rate"]]]);
  });
});
