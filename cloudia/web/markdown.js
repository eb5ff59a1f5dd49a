// Markdown as DOM. `marked` only cuts the text into tokens; the elements are made here, one kind at a time, and text goes in
// as text. HTML in a message is shown as it was written, and no image is loaded: a link stands for it.

import { button, copy, el, icon } from "./dom.js";
import { highlight } from "./highlight.js";
import { Lexer } from "./vendor/marked/marked.js";

const DEEPEST = 16; // what is nested deeper is shown as it was written
const SAFE = /^(?:https?:\/\/|mailto:)/i;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", hellip: "…", mdash: "—", ndash: "–", rarr: "→", larr: "←", times: "×" };

function lex(text, links = {}) {
  try {
    const lexer = new Lexer({ gfm: true });
    lexer.tokens.links = links;
    return lexer.lex(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [{ type: "text", raw: text, text }]; // nested beyond reason
  }
}

function decoded(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,8}));/gi, (written, decimal, hex, name) => {
    const point = decimal ? Number(decimal) : hex ? parseInt(hex, 16) : null;
    if (point === null) return ENTITIES[name] ?? written;
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : written;
  });
}

// Return the nodes of a token, in a block or in a line.
function nodes(token, depth = 0) {
  if (depth > DEEPEST) return [token.raw];
  const inner = () => all(token.tokens ?? [], depth + 1);
  switch (token.type) {
    case "space":
    case "def":
    case "checkbox":
      return [];
    case "paragraph":
      return [el("p", {}, ...inner())];
    case "heading":
      // The page's own headings end at the second level.
      return [el(`h${Math.min(token.depth + 2, 6)}`, {}, ...inner())];
    case "code":
      return [codeBlock(token)];
    case "blockquote":
      return [el("blockquote", {}, ...inner())];
    case "hr":
      return [el("hr")];
    case "list": {
      const items = token.items.map((item) => listItem(item, depth + 1));
      const start = token.ordered && token.start !== 1 ? token.start : null;
      return [el(token.ordered ? "ol" : "ul", { start }, ...items)];
    }
    case "table":
      return [table(token, depth + 1)];
    case "html":
      if (/^<br\s*\/?>$/i.test(token.raw.trim()) && !token.block) return [el("br")];
      return token.block ? [el("p", { class: "written" }, token.raw.trimEnd())] : [token.raw];
    case "text":
      return token.tokens ? inner() : [decoded(token.text)];
    case "escape":
      return [token.text];
    case "strong":
      return [el("strong", {}, ...inner())];
    case "em":
      return [el("em", {}, ...inner())];
    case "del":
      return [el("del", {}, ...inner())];
    case "codespan":
      return [el("code", {}, token.text)];
    case "br":
      return [el("br")];
    case "link":
      return link(token.href, inner(), token.title);
    case "image":
      return link(token.href, [icon("image"), token.text || token.href], token.title);
    default:
      return [token.raw];
  }
}

function all(tokens, depth) {
  return tokens.flatMap((token) => nodes(token, depth));
}

function link(href, children, title) {
  if (!SAFE.test(href)) return children;
  return [el("a", { href, title, target: "_blank", rel: "noopener noreferrer" }, ...children)];
}

function listItem(item, depth) {
  const children = all(item.tokens, depth);
  if (!item.task) return el("li", {}, ...children);
  return el("li", { class: "task" }, el("input", { type: "checkbox", disabled: true, checked: item.checked, "aria-label": item.checked ? "done" : "open" }), " ", ...children);
}

function table(token, depth) {
  const cell = (name) => (each) => el(name, { class: each.align && `to-${each.align}` }, ...all(each.tokens, depth));
  const head = el("thead", {}, el("tr", {}, ...token.header.map(cell("th"))));
  const body = el("tbody", {}, ...token.rows.map((row) => el("tr", {}, ...row.map(cell("td")))));
  return el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table" }, el("table", {}, head, body));
}

function languageOf(token) {
  return (token.lang ?? "").split(/\s/)[0].toLowerCase().slice(0, 20);
}

function codeBlock(token) {
  const language = languageOf(token);
  const code = el("code");
  highlight(code, token.text, language);
  const bar = el("figcaption", {}, el("span", {}, language || "code"), button("Copy", "copy", (event) => copy(code.textContent, event.currentTarget), { "aria-label": "Copy the code", class: "quiet copy" }));
  return el("figure", { class: "code" }, bar, el("pre", { tabindex: 0, role: "group", "aria-label": `Code${language && `, ${language}`}` }, code));
}

// An answer's text as it grows. Blocks that are closed are made once; only the last one is made again.
export class StreamedMarkdown {
  #text = "";
  #version = null;
  #closed = 0; // characters whose blocks are made
  #open = []; // nodes of the last block, and its kind
  #kind = null;
  #links = {};

  constructor(root) {
    this.root = root;
  }

  // Show `text`. Another `version` is another text; the same one has only grown. `whole` says that it grows no more.
  show(text, version, whole = false) {
    if (text.includes("\r")) text = text.replaceAll("\r", "");
    if (version !== this.#version || text.length < this.#text.length) this.#begin(version);
    if (text !== this.#text) this.#grow(text);
    // What a link's name means may be said after the link.
    if (whole && this.#closed && Object.keys(this.#links).length) {
      this.#begin(version);
      this.#grow(text);
    }
  }

  #grow(text) {
    this.#text = text;
    const tokens = lex(text.slice(this.#closed), this.#links);
    const last = tokens.findLastIndex((token) => token.type !== "space");
    if (last < 0) return;
    for (const token of tokens.slice(0, last)) this.#close(token);
    this.#renew(tokens[last]);
  }

  #begin(version) {
    this.root.replaceChildren();
    this.#open = [];
    this.#kind = null;
    this.#closed = 0;
    this.#text = "";
    this.#links = {};
    this.#version = version;
  }

  #close(token) {
    this.#closed += token.raw.length;
    if (token.type === "space") return;
    this.#renew(token);
    this.#open = [];
    this.#kind = null;
  }

  #renew(token) {
    const kind = token.type === "code" ? `code ${languageOf(token)}` : token.type;
    if (token.type === "code" && kind === this.#kind) {
      const code = this.#open[0].querySelector("code");
      if (code.textContent !== token.text) highlight(code, token.text, languageOf(token));
      return;
    }
    const made = nodes(token).map((node) => (typeof node === "string" ? el("p", { class: "written" }, node) : node));
    for (const old of this.#open) old.remove();
    this.root.append(...made);
    this.#open = made;
    this.#kind = kind;
  }
}
