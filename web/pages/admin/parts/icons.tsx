// The icons: strokes on a grid of 24, drawn in the colour of the text.
/** @jsxImportSource preact */
import type { JSX } from "preact";

const PATHS = {
  overview: "M4 19V11m5.3 8V5m5.4 14v-6m5.3 6V8",
  connections: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6.5 9a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4m2.2 3.8A6.5 6.5 0 0 1 21.5 20",
  tags: "M3.5 4.5v7l9 9 8-8-9-9h-7a1 1 0 0 0-1 1Zm4.5 4h.01",
  send: "M21 3 10.5 13.5M21 3l-6.5 18-4-7.5L3 9.5Z",
  log: "M8 6h13M8 12h13M8 18h13M3.5 6h.01M3.5 12h.01M3.5 18h.01",
  config: "M4 7h9m5 0h2M4 17h2m5 0h9M15.5 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Zm-7 10a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  nodes: "M4 4h16v6H4Zm0 10h16v6H4Zm3.5-7h.01m-.01 10h.01",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm0-14v2m0 16v2M4.9 4.9l1.4 1.4m11.4 11.4 1.4 1.4M2 12h2m16 0h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20.5 14.5A8.5 8.5 0 0 1 9.5 3.5a8.5 8.5 0 1 0 11 11Z",
  logout: "M9 21H5a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1h4m7 13.5 4.5-4.5L16 7.5M20.5 12H9",
  close: "m6 6 12 12M18 6 6 18",
  copy: "M9 9h11v11H9Zm-3.5 6H4V4h11v1.5",
  check: "m4.5 12.5 5 5 10-11",
  refresh: "M20 5v5h-5m4.6 5a8 8 0 1 1-1-8.5L20 10",
  pause: "M8 5v14m8-14v14",
  play: "m7 4.5 12 7.5-12 7.5Z",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Zm5-1.5 5 5",
  off: "M12 3v9m6.4-6.4a9 9 0 1 1-12.8 0",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  keyboard: "M3 6h18v12H3Zm4 4h.01m3.3 0h.01m3.4 0h.01m3.3 0h.01M8 14h8",
  arrowIn: "M12 4v14m-6-6 6 6 6-6",
  arrowOut: "M12 20V6m-6 6 6-6 6 6",
  alert: "M12 8v5m0 3.5h.01M10.3 4 2.5 17.5A2 2 0 0 0 4.2 20.5h15.6a2 2 0 0 0 1.7-3L13.7 4a2 2 0 0 0-3.4 0Z",
  empty: "M3.5 13h5l1.5 3h4l1.5-3h5M3.5 13l3-8h11l3 8v6.5h-17Z",
  language: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM3.5 12h17M12 3c2.5 2.5 3.7 5.5 3.7 9s-1.2 6.5-3.7 9c-2.5-2.5-3.7-5.5-3.7-9S9.5 5.5 12 3Z",
  back: "m14.5 5-7 7 7 7",
  filter: "M4 6h16M7 12h10m-7 6h4",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Zm9.5 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg class="glyph" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark of the house, as in icon.svg. */
export function Mark({ size }: { size: number }): JSX.Element {
  return (
    <svg class="sign" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path class="there" d="M7 11.5h11.5m-4-4.5 4.5 4.5-4.5 4.5" />
      <path class="back" d="M25 20.5H13.5m4-4.5L13 20.5l4.5 4.5" />
    </svg>
  );
}
