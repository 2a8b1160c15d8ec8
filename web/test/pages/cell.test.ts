// @vitest-environment happy-dom
import { h, render } from "preact";
import { expect, test, vi } from "vitest";
import { Cell, useCell } from "../../pages/admin/lib/cell.js";

function shown(cell: Cell<number>): HTMLElement {
  const root = document.createElement("div");
  render(h(() => h("p", null, String(useCell(cell))), null), root);
  return root;
}

test("a change before the part is watched is drawn", async () => {
  const cell = new Cell(1);
  const root = shown(cell);
  // The effect that watches comes after the next frame.
  cell.set(2);
  await vi.waitFor(() => expect(root.textContent).toBe("2"));
});

test("a change while it is watched is drawn, and after its end no one is told", async () => {
  const cell = new Cell(1);
  const root = shown(cell);
  await new Promise((done) => setTimeout(done, 200));
  cell.set(2);
  await vi.waitFor(() => expect(root.textContent).toBe("2"));
  render(null, root);
  const told = vi.fn();
  const end = cell.watch(told);
  cell.set(3);
  cell.set(3);
  expect(told.mock.calls).toEqual([[3]]);
  end();
  cell.set(4);
  expect(told).toHaveBeenCalledTimes(1);
  expect(root.textContent).toBe("");
});
