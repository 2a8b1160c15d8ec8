// The words of a page in English and in Chinese. The tables are typed: a text that one of them lacks does not compile.

import { $, kept } from "./dom";

export type Language = "en" | "zh";
export type Values = Record<string, string | number | undefined>;
export type Table<Key extends string> = Record<Key, string>;

const isLanguage = (text: string | null): text is Language => text === "en" || text === "zh";

/** The language that was chosen on any page, or the browser's. */
export function preferred(): Language {
  const chosen = kept.get("language");
  if (isLanguage(chosen)) return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export class Words<Key extends string> {
  language: Language = preferred();
  #told: (() => void)[] = [];

  /** `roots` names what is not in the document now and will be shown again. */
  constructor(
    private readonly tables: Record<Language, Table<Key>>,
    private readonly roots: () => Iterable<ParentNode> = () => [],
  ) {}

  /** The tag of the language, as Intl and `lang` want it. */
  get tag(): string {
    return this.language === "zh" ? "zh-CN" : "en";
  }

  say(key: Key, values: Values = {}): string {
    return this.tables[this.language][key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
  }

  /** Fixed words are kept as keys, so that a change of language reaches what stands already. */
  put<E extends HTMLElement>(element: E, key: Key, values: Values = {}): E {
    element.dataset.text = key;
    element.dataset.values = JSON.stringify(values);
    element.textContent = this.say(key, values);
    return element;
  }

  number(value: number, digits = 0): string {
    return new Intl.NumberFormat(this.tag, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  }

  /** A number of bytes, as people read it. */
  size(bytes: number): string {
    if (bytes < 1024) return `${bytes} B`;
    const [value, unit] = bytes < 1024 ** 2 ? [bytes / 1024, "KiB"] : [bytes / 1024 ** 2, "MiB"];
    return `${this.number(value, 1)} ${unit}`;
  }

  /** Called now and after each change of language. */
  onChange(tell: () => void): void {
    this.#told.push(tell);
    tell();
  }

  /** Fills the page and makes #language its switch. */
  start(): void {
    $("language").addEventListener("click", () => {
      this.language = this.language === "en" ? "zh" : "en";
      kept.set("language", this.language);
      this.translate();
    });
    this.translate();
  }

  translate(): void {
    document.documentElement.lang = this.tag;
    for (const root of [document, ...this.roots()]) this.#fill(root);
    const [name, tag] = this.language === "en" ? ["中文", "zh-CN"] : ["English", "en"];
    const button = $("language");
    button.lang = tag;
    button.textContent = name;
    for (const tell of this.#told) tell();
  }

  #fill(root: ParentNode): void {
    const each = (name: string, set: (element: HTMLElement, text: string) => void): void => {
      for (const element of root.querySelectorAll<HTMLElement>(`[data-${name}]`)) {
        const values = JSON.parse(element.dataset.values ?? "{}") as Values;
        set(element, this.say(element.dataset[name] as Key, values));
      }
    };
    each("text", (element, text) => (element.textContent = text));
    each("hint", (element, text) => ((element as HTMLInputElement).placeholder = text));
    each("label", (element, text) => element.setAttribute("aria-label", text));
  }
}

/** The words that every page has. */
export const COMMON = {
  en: {
    skip: "Skip to the content",
    pages: "Pages",
    echo: "Echo",
    chat: "Chat",
    admin: "Admin",
    toDark: "Dark colours",
    toLight: "Light colours",
    copy: "Copy",
    copied: "Copied",
    open: "Connected",
    connecting: "Connecting",
    closed: "Closed",
  },
  zh: {
    skip: "跳到内容",
    pages: "页面",
    echo: "回声",
    chat: "聊天室",
    admin: "管理",
    toDark: "深色",
    toLight: "浅色",
    copy: "复制",
    copied: "已复制",
    open: "已连接",
    connecting: "连接中",
    closed: "已断开",
  },
} as const;

export type CommonKey = keyof (typeof COMMON)["en"];
