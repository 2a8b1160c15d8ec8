// From samples to the columns that the charts draw.
import type { Sample } from "../api.js";

export type Columns = (number | null)[][];

/** A pause longer than this is shown as a gap. */
const GAP_MS = 5000;

/** The samples of the last `range` milliseconds, with a hole where the server or the network was away. */
export function recent(samples: readonly Sample[], range: number): (Sample | { at: number })[] {
  const last = samples.at(-1);
  if (last === undefined) return [];
  const found: (Sample | { at: number })[] = [];
  let before: number | undefined;
  for (const sample of samples) {
    if (sample.at < last.at - range || (before !== undefined && sample.at <= before)) continue;
    if (before !== undefined && sample.at - before > GAP_MS) found.push({ at: before + 1000 });
    found.push(sample);
    before = sample.at;
  }
  return found;
}

/** One column of seconds, and one for each way to read a sample. */
export function columns(
  samples: readonly (Sample | { at: number })[],
  readers: readonly ((sample: Sample) => number | null)[],
): Columns {
  return [
    samples.map((sample) => sample.at / 1000),
    ...readers.map((read) => samples.map((sample) => ("connections" in sample ? read(sample) : null))),
  ];
}

/** The most frequent close codes of these samples, in their order; what is beyond `most` counts as "other". */
export function closeCodes(samples: readonly (Sample | { at: number })[], most: number): string[] {
  const counts = new Map<string, number>();
  for (const sample of samples) {
    if (!("closes" in sample)) continue;
    for (const [code, count] of Object.entries(sample.closes)) counts.set(code, (counts.get(code) ?? 0) + count);
  }
  const codes = [...counts].sort((a, b) => b[1] - a[1] || Number(a[0]) - Number(b[0])).map(([code]) => code);
  const inOrder = (some: string[]): string[] => some.sort((a, b) => Number(a) - Number(b));
  return codes.length > most ? [...inOrder(codes.slice(0, most - 1)), "other"] : inOrder(codes);
}

/** Sums of closes over spans of so many seconds that begin where the clock does, so that bars stand still as time goes on. */
export function binned(samples: readonly (Sample | { at: number })[], seconds: number): Sample[] {
  const bins: Sample[] = [];
  for (const sample of samples) {
    if (!("closes" in sample)) continue;
    const at = Math.floor(sample.at / 1000 / seconds) * seconds * 1000;
    let bin = bins.at(-1);
    if (bin?.at !== at) {
      bin = { ...sample, at, closes: {} };
      bins.push(bin);
    }
    for (const [code, count] of Object.entries(sample.closes)) bin.closes[code] = (bin.closes[code] ?? 0) + count;
  }
  return bins;
}

/** How many closed with a code; for "other", with none of the named ones. */
export function closesOf(sample: Sample, code: string, named: readonly string[]): number {
  if (code !== "other") return sample.closes[code] ?? 0;
  let count = 0;
  for (const [other, closes] of Object.entries(sample.closes)) if (!named.includes(other)) count += closes;
  return count;
}

/** Each column on top of the ones before it; the first one lies at the bottom. */
export function stacked(columns: Columns): Columns {
  const [times = [], ...rest] = columns;
  const sums = times.map(() => 0);
  return [
    times,
    ...rest.map((column) =>
      column.map((value, index) => {
        if (value === null) return null;
        sums[index] = (sums[index] ?? 0) + value;
        return sums[index] ?? 0;
      }),
    ),
  ];
}
