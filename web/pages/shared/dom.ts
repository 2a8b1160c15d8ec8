// Small helpers around the DOM. Text of others only ever becomes textContent.

/** The element of this id, which the page is known to have. */
export function $<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as E;
}

/** A new element with a class and a text. */
export function make<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, name = "", text: string | number = ""): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== "") element.textContent = String(text);
  return element;
}

/** What somebody has said. Where it may have to be scrolled it can be reached with the keyboard. */
export function speech(text: string): HTMLElement {
  const element = make("span", "text", text);
  if (text.length > 140 || text.split("\n").length > 8) element.tabIndex = 0;
  return element;
}

/** What the browser keeps for this origin. One that keeps nothing is no error. */
export const kept = {
  get(name: string): string | null {
    try {
      return localStorage.getItem(`antiphon-${name}`);
    } catch {
      return null;
    }
  },
  set(name: string, value: string | null): void {
    try {
      if (value === null) localStorage.removeItem(`antiphon-${name}`);
      else localStorage.setItem(`antiphon-${name}`, value);
    } catch {
      // The choice holds as long as the page.
    }
  },
};

/** The address of a path of this server, as a WebSocket's. */
export function socketAddress(path: string): URL {
  const address = new URL(path, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return address;
}

/** A list that grows at its end: whoever reads the end stays there, whoever reads further up stays, too. */
export class Tail {
  #follows = true;

  constructor(private readonly box: HTMLElement) {
    box.addEventListener("scroll", () => (this.#follows = box.scrollHeight - box.scrollTop - box.clientHeight < 80));
    new ResizeObserver(() => this.#follows && this.toEnd()).observe(box);
  }

  /** Something has come; `own` says that it is the reader's. */
  grown(own = false): void {
    if (this.#follows || own) this.toEnd();
  }

  toEnd(): void {
    this.#follows = true;
    this.box.scrollTop = this.box.scrollHeight;
  }
}
