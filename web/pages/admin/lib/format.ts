// Numbers, sizes and times as people of a language write them.
import type { Language } from "../../shared/i18n.js";

export interface Formats {
  /** 12,345 */
  number(value: number): string;
  /** Short where it would be long: 12,345, but 1.2M. */
  short(value: number): string;
  /** 1.5 MiB */
  bytes(value: number): string;
  /** 12 % */
  percent(share: number): string;
  /** 2d 3h */
  span(milliseconds: number): string;
  /** 5s ago; a time in the near future counts as now, since clocks differ. */
  ago(time: number, now: number): string;
  /** 14:02:09 */
  clock(time: number): string;
  /** Nov 21, 14:02:09 */
  date(time: number): string;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit & ("day" | "hour" | "minute" | "second"), number])[] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];

const made = new Map<Language, Formats>();

export function formats(language: Language): Formats {
  let all = made.get(language);
  if (all === undefined) {
    all = make(language === "zh" ? "zh-CN" : "en");
    made.set(language, all);
  }
  return all;
}

function make(locale: string): Formats {
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  const one = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumSignificantDigits: 3 });
  const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });
  const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const date = new Intl.DateTimeFormat(locale, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "narrow" });
  const unit = (name: string) => new Intl.NumberFormat(locale, { style: "unit", unit: name, unitDisplay: "narrow" });
  const units = new Map(STEPS.map(([name]) => [name, unit(name)]));

  return {
    number: (value) => whole.format(value),
    short: (value) => (Math.abs(value) < 100_000 ? whole : compact).format(value),
    bytes(value) {
      let size = value;
      let step = 0;
      while (Math.abs(size) >= 1000 && step < UNITS.length - 1) {
        size /= 1024;
        step += 1;
      }
      return `${(step === 0 || Math.abs(size) >= 100 ? whole : one).format(size)} ${UNITS[step]}`;
    },
    percent: (value) => share.format(value),
    span(milliseconds) {
      const first = STEPS.findIndex(([, length]) => milliseconds >= length);
      if (first < 0) return units.get("second")?.format(0) ?? "";
      const parts: string[] = [];
      let rest = milliseconds;
      for (const [name, length] of STEPS.slice(first, first + 2)) {
        const count = Math.floor(rest / length);
        rest -= count * length;
        if (count > 0) parts.push(units.get(name)?.format(count) ?? "");
      }
      return parts.join(" ");
    },
    ago(time, now) {
      const past = now - time;
      const [name, length] = STEPS.find(([, size]) => past >= size) ?? ["second", 1000];
      return relative.format(-Math.max(0, Math.floor(past / length)), name);
    },
    clock: (time) => clock.format(time),
    date: (time) => date.format(time),
  };
}
