// Which rows of a long list are drawn, and which pages of it have to be fetched.

/** As far as the server lists, and browsers draw: what lies behind takes a narrower filter. */
export const MAX_ROWS = 100_000;

export interface View {
  /** Pixels above the view. */
  scroll: number;
  /** Pixels of the view. */
  height: number;
  /** Pixels of one row. */
  row: number;
  /** All rows. */
  total: number;
  /** Rows that are drawn beyond the view, either way. */
  spare: number;
}

export interface Window {
  first: number;
  /** Behind the last one. */
  end: number;
  /** Pixels of the whole list. */
  size: number;
  /** Pixels above the first drawn row. */
  top: number;
}

export function windowOf({ scroll, height, row, total, spare }: View): Window {
  const rows = Math.max(0, Math.min(total, MAX_ROWS));
  const size = rows * row;
  const seen = Math.min(Math.max(0, scroll), Math.max(0, size - height));
  const first = Math.max(0, Math.floor(seen / row) - spare);
  const end = Math.min(rows, Math.ceil((seen + height) / row) + spare);
  return { first, end, size, top: first * row };
}

/** The numbers of the pages that hold the rows from `first` to before `end`. */
export function pagesOf(first: number, end: number, page: number): number[] {
  const pages: number[] = [];
  for (let at = Math.floor(first / page); at * page < end; at += 1) pages.push(at);
  return pages;
}
