// One chart over time. All charts on the page share the cursor: what is shown beside the names belongs to its second.
/** @jsxImportSource preact */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import type { Sample } from "../api.js";
import { useCell } from "../lib/cell.js";
import { type Columns, columns, stacked } from "../lib/series.js";
import { useTexts } from "../texts.js";
import { dark } from "../theme.js";

export interface Line {
  label: string;
  /** A colour of the style sheet, without `--`. */
  color: string;
  read: (sample: Sample) => number | null;
  dash?: boolean;
  /** Filled below. */
  fill?: boolean;
}

interface ChartProps {
  title: string;
  lines: readonly Line[];
  samples: readonly (Sample | { at: number })[];
  /** Milliseconds. */
  range: number;
  format: (value: number) => string;
  /** Which steps the axis takes: whole numbers, powers of two, or any. */
  steps?: "whole" | "binary";
  /** Bars on top of each other, each this many seconds wide. */
  bars?: number;
  /** Said beside the title, where nothing is pointed at. */
  note?: string;
  testid?: string;
  /** Instead of the chart, where there is nothing to show. */
  empty?: string | undefined;
}

const HEIGHT = 160;
const STEPS = {
  binary: Array.from({ length: 50 }, (_, index) => 2 ** index),
  whole: Array.from({ length: 10 }, (_, index) => [1, 2, 5].map((digit) => digit * 10 ** index)).flat(),
};
const sync = uPlot.sync("overview");

export function Chart(props: ChartProps): JSX.Element {
  const { title, lines, samples, range, format, bars = 0 } = props;
  const stack = bars > 0;
  const { clock, t, language } = useTexts();
  const night = useCell(dark);
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const live = useRef({ range, format, clock, bars });
  live.current = { range, format, clock, bars };
  const [at, setAt] = useState<number | null>(null);

  const raw = columns(samples, lines.map((line) => line.read));
  const drawn: Columns = stack ? reversed(stacked(raw)) : raw;
  const look = lines.map((line) => line.label + line.color).join();

  useLayoutEffect(() => {
    const element = place.current;
    if (element === null) return;
    const color = (name: string): string => {
      const probe = document.createElement("i");
      probe.style.color = `var(--${name})`;
      element.append(probe);
      const found = getComputedStyle(probe).color;
      probe.remove();
      return found;
    };
    const quiet = { stroke: color("soft"), font: `11px ${getComputedStyle(element).fontFamily}` };
    const grid = { stroke: color("line"), width: 1 };
    const series = lines.map((line): uPlot.Series => {
      const stroke = color(line.color);
      const fill = line.fill || stack ? stroke.replace(/^rgb\((.*)\)$/, stack ? "rgb($1)" : "rgba($1, 0.1)") : "";
      return {
        label: line.label,
        stroke,
        width: stack ? 0 : 1.75,
        points: { show: false },
        ...(stack ? { paths: uPlot.paths.bars?.({ size: [0.75, 24], align: 1 }) } : {}),
        ...(fill === "" ? {} : { fill }),
        ...(line.dash ? { dash: [5, 4] } : {}),
      };
    });
    if (stack) series.reverse();
    const made = new uPlot(
      {
        width: element.clientWidth || 300,
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 18, 0, 0],
        cursor: {
          sync: { key: sync.key, setSeries: false },
          drag: { x: false, y: false },
          y: false,
          points: { show: !stack, size: 7, width: 2 },
        },
        scales: {
          x: { time: true, range: (_, __, max) => [max + live.current.bars - live.current.range / 1000, max + live.current.bars] },
          y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] },
        },
        axes: [
          {
            ...quiet, grid: { show: false }, ticks: { show: false }, size: 24, gap: 6,
            // Room for hours, minutes and seconds.
            space: 68,
            // Seconds are said where the steps are shorter than a minute.
            values: (_, ticks, __, ___, step) =>
              ticks.map((tick) => live.current.clock(tick * 1000).slice(0, step < 60 ? 8 : 5)),
          },
          {
            ...quiet, grid, ticks: { show: false }, size: 62, gap: 8, space: 36,
            values: (_, ticks) => ticks.map((tick) => live.current.format(tick)),
            ...(props.steps ? { incrs: STEPS[props.steps] } : {}),
          },
        ],
        series: [{}, ...series],
        hooks: { setCursor: [(self) => setAt(self.cursor.idx ?? null)] },
      },
      drawn as uPlot.AlignedData,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [look, night, language, props.steps, stack]);

  useEffect(() => plot.current?.setData(drawn as uPlot.AlignedData), [samples, range, look]);

  const times = raw[0] ?? [];
  const index = at ?? times.length - 1;
  const values = lines.map((_, line) => raw[line + 1]?.[index] ?? null);
  const shown = (value: number | null): string => (value === null ? "–" : format(value));
  const second = times[index];
  const summary = `${title}: ${lines.map((line, n) => `${line.label} ${shown(values[n] ?? null)}`).join(", ")}`;
  return (
    <section class="card chart" data-testid={props.testid}>
      <header>
        <h2>{title}</h2>
        <span class="soft">{at !== null && typeof second === "number" ? clock(second * 1000) : (props.note ?? t("now1"))}</span>
      </header>
      <ul class="legend" aria-hidden="true">
        {lines.map((line, n) => (
          <li key={line.label}>
            <i data-color={line.color} data-dash={line.dash} />
            {line.label} <b>{shown(values[n] ?? null)}</b>
          </li>
        ))}
      </ul>
      <div class="plot" ref={place} role="img" aria-label={summary} />
      {props.empty !== undefined && <p class="nothing">{props.empty}</p>}
    </section>
  );
}

/** The highest of a stack is drawn first, so that the others lie in front of it. */
function reversed([times = [], ...rest]: Columns): Columns {
  return [times, ...rest.reverse()];
}
