// A button that copies what stands in an element.

/** `named` gives the button its words, and for a moment others when it has copied. */
export function copies(button: HTMLElement, source: HTMLElement, named: (copied: boolean) => void): void {
  let back = 0;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent ?? "");
      named(true);
      clearTimeout(back);
      back = window.setTimeout(() => named(false), 1500);
    } catch {
      // No permission, or no secure context: the code is marked for the reader to copy.
      getSelection()?.selectAllChildren(source);
    }
  });
}
