// The browser and the system behind a User-Agent. Libraries for this weigh more than the rest of the page; two columns of a
// list need a table of the names that people meet, and the text itself stands in the title.

export interface Agent {
  browser: string;
  system: string;
}

/** The first that matches counts: those that call themselves by several names stand above the names they borrow. */
const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/MicroMessenger\/(\d+(?:\.\d+)?)/, "WeChat"],
  [/(?:DingTalk|AliApp\(DingTalk)\/(\d+)/, "DingTalk"],
  [/(?:Lark|Feishu)\/(\d+)/, "Lark"],
  [/(?:QQBrowser|MQQBrowser)\/(\d+)/, "QQ Browser"],
  [/UC(?:Browser|WEB)\/?(\d+)/, "UC Browser"],
  [/MiuiBrowser\/(\d+)/, "Mi Browser"],
  [/HuaweiBrowser\/(\d+)/, "Huawei Browser"],
  [/SamsungBrowser\/(\d+)/, "Samsung Internet"],
  [/YaBrowser\/(\d+)/, "Yandex"],
  [/Vivaldi\/(\d+)/, "Vivaldi"],
  [/(?:OPR|OPiOS|OPT)\/(\d+)/, "Opera"],
  [/Edg(?:e|A|iOS)?\/(\d+)/, "Edge"],
  [/Electron\/(\d+)/, "Electron"],
  [/(?:Firefox|FxiOS)\/(\d+)/, "Firefox"],
  [/HeadlessChrome\/(\d+)/, "Chrome (headless)"],
  [/; wv\).*Chrome\/(\d+)/, "Android WebView"],
  [/(?:Chrome|CriOS|Chromium)\/(\d+)/, "Chrome"],
  [/Version\/(\d+)\S* (?:Mobile\/\S+ )?Safari/, "Safari"],
  [/MSIE (\d+)|Trident\/.*rv:(\d+)/, "Internet Explorer"],
];

const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/HarmonyOS|OpenHarmony/, "HarmonyOS"],
  [/Android(?: (\d+))?/, "Android"],
  [/iPad.*? OS (\d+)/, "iPadOS"],
  [/iP(?:hone|od).*? OS (\d+)/, "iOS"],
  [/CrOS/, "ChromeOS"],
  [/Windows NT 10/, "Windows"],
  [/Windows NT 6\.[23]/, "Windows 8"],
  [/Windows NT 6\.1/, "Windows 7"],
  [/Windows/, "Windows"],
  [/Macintosh|Mac OS X|Darwin/, "macOS"],
  [/Ubuntu/, "Ubuntu"],
  [/Linux|X11/, "Linux"],
];

/** What was asked lately: a list asks for the same few again and again. */
const known = new Map<string, Agent>();
const MAX_KNOWN = 500;

export function agentOf(text: string | undefined): Agent {
  const agent = (text ?? "").trim();
  let found = known.get(agent);
  if (found === undefined) {
    // Programs say `name/1.2.3` or `Language/3.11 name/1.2`; browsers all begin with Mozilla or hold a known name.
    found = { browser: find(BROWSERS, agent) || program(agent), system: find(SYSTEMS, agent) };
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(agent, found);
  }
  return found;
}

function find(table: readonly (readonly [RegExp, string])[], agent: string): string {
  for (const [pattern, name] of table) {
    const match = pattern.exec(agent);
    if (match) {
      const version = match.slice(1).find((part) => part !== undefined);
      return version === undefined ? name : `${name} ${version}`;
    }
  }
  return "";
}

function program(agent: string): string {
  if (agent.startsWith("Mozilla/")) return "";
  const first = /^([^\s/;()]{1,40})(?:\/v?(\d+(?:\.\d+)?))?/.exec(agent);
  return first === null ? "" : [first[1], first[2]].filter(Boolean).join(" ");
}
