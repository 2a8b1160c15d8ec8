// Where JSON is wrong: the line and the column that the editor shows.
import { describe, expect, test } from "vitest";

import { faultOf, MAX_DEPTH, pretty } from "../../pages/admin/lib/json.js";

const GOOD = [
  "null", "true", " false ", "0", "-0", "12", "-1.5e+10", "1E3", '""', '"a\\n\\u00e9\\/"', "[]", "[ ]", "[1, 2,\n3]", "{}",
  '{"a": {"b": [null]}}', '\t{"a":1}\r\n', '"\u{1f600}"', "1".repeat(300), "[".repeat(MAX_DEPTH) + "]".repeat(MAX_DEPTH),
];

// [text, problem, line, column]
const BAD: [string, string, number, number][] = [
  ["", "end", 1, 1],
  ["  ", "end", 1, 3],
  ["{", "end", 1, 2],
  ['{"a"', "end", 1, 5],
  ['{"a":', "end", 1, 6],
  ['{"a":1', "end", 1, 7],
  ['{"a":1,}', "key", 1, 8],
  ["{a: 1}", "key", 1, 2],
  ["{'a': 1}", "key", 1, 2],
  ['{"a" 1}', "colon", 1, 6],
  ['{"a": }', "value", 1, 7],
  ['{\n  "a": 1\n  "b": 2\n}', "comma", 3, 3],
  ["[1 2]", "comma", 1, 4],
  ["[1,]", "value", 1, 4],
  ["[1,\r\n  x]", "value", 2, 3],
  ["[1,\r  x]", "value", 2, 3],
  ["tru", "value", 1, 1],
  ["truely", "value", 1, 1],
  ["undefined", "value", 1, 1],
  ["NaN", "value", 1, 1],
  ["-", "number", 1, 1],
  ["01", "number", 1, 2],
  ["1.", "number", 1, 2],
  [".5", "value", 1, 1],
  ["+1", "value", 1, 1],
  ["1e", "number", 1, 2],
  ["1e999", "number", 1, 1],
  ['"a', "end", 1, 3],
  ['"a\nb"', "string", 1, 3],
  ['"a\\x"', "escape", 1, 3],
  ['"\\u12"', "escape", 1, 2],
  ["1 2", "after", 1, 3],
  ["{} {}", "after", 1, 4],
  ['"\u{1f600}" x', "after", 1, 5],
  ["[".repeat(MAX_DEPTH + 1), "deep", 1, MAX_DEPTH + 1],
];

describe("JSON", () => {
  test.each(GOOD)("is taken: %j", (text) => {
    expect(faultOf(text)).toBeUndefined();
    expect(() => JSON.parse(text)).not.toThrow();
  });

  test.each(BAD)("is refused with its place: %j", (text, problem, line, column) => {
    expect(faultOf(text)).toMatchObject({ problem, line, column });
  });

  test("is refused wherever the browser refuses it, at every cut of a text", () => {
    const text = '{"a":[1,-2.5e3,true,null,"x\\u0041\\n"],"b":{"c":false}}';
    for (let end = 0; end < text.length; end += 1) expect(faultOf(text.slice(0, end)), text.slice(0, end)).toBeDefined();
    expect(faultOf(text)).toBeUndefined();
  });

  test("says which character stands where something else was expected", () => {
    expect(faultOf("[\u{1f600}]")?.found).toBe("\u{1f600}");
    expect(faultOf("[")?.found).toBe("");
  });

  test("is laid out over lines, and left alone where it is none", () => {
    expect(pretty('{"a":[1]}')).toBe('{\n  "a": [\n    1\n  ]\n}');
    expect(pretty("{a}")).toBe("{a}");
  });
});
