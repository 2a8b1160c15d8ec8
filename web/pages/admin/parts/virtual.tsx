// A long list of rows of one height: only those in view are drawn.
/** @jsxImportSource preact */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { windowOf } from "../lib/window.js";

interface VirtualProps {
  total: number;
  /** Pixels of a row. */
  row: number;
  label: string;
  /** Draws the rows from `first` to before `end`. */
  children: (first: number, end: number) => ComponentChildren;
  /** The row of the names of columns. */
  head?: ComponentChildren;
  /** Which rows are drawn, and whether the first one can be seen, whenever that changes. */
  onWindow?: (first: number, end: number, atTop: boolean) => void;
  /** Told another value, the list goes to its top. */
  reset?: unknown;
  /** "table": cells in rows. "list": plain items. */
  role: "table" | "list";
  testid?: string;
}

const SPARE = 8;

export function Virtual(props: VirtualProps): JSX.Element {
  const { total, row, onWindow } = props;
  const box = useRef<HTMLDivElement>(null);
  const [scroll, setScroll] = useState(0);
  const [height, setHeight] = useState(600);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const measure = (): void => setHeight(element.clientHeight || 600);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (box.current) box.current.scrollTop = 0;
    setScroll(0);
  }, [props.reset]);
  const { first, end, size, top } = windowOf({ scroll, height, row, total, spare: SPARE });
  useEffect(() => onWindow?.(first, end, scroll < row), [first, end, scroll < row]);
  const table = props.role === "table";
  return (
    <div class="virtual" ref={box} tabIndex={0} role="region" aria-label={props.label} data-testid={props.testid}
      onScroll={(event) => setScroll(event.currentTarget.scrollTop)}>
      <div role={props.role} aria-label={props.label} aria-rowcount={table ? total + 1 : undefined}>
        {props.head}
        <div class="rows" role={table ? "rowgroup" : "presentation"} style={{ height: `${size}px` }}>
          <div class="offset" role="presentation" style={{ transform: `translateY(${top}px)` }}>
            {props.children(first, end)}
          </div>
        </div>
      </div>
    </div>
  );
}
