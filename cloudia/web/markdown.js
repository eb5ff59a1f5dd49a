// Markdown as DOM. `marked` only cuts the text into tokens; the elements are made here, one kind at a time, and text goes in
// as text. HTML in a message is shown as it was written, and no image is loaded: a link stands for it.

import { button, copy, el, icon } from "./dom.js";
import { Highlighted } from "./highlight.js";
import { MathLexer } from "./math.js";

const DEEPEST = 16; // what is nested deeper is shown as it was written
const SAFE = /^(?:https?:\/\/|mailto:)/i;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", hellip: "…", mdash: "—", ndash: "–", rarr: "→", larr: "←", times: "×" };

export function lex(text, links = {}) {
  try {
    const lexer = new MathLexer();
    lexer.tokens.links = links;
    return lexer.lex(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [{ type: "text", raw: text, text }]; // nested beyond reason
  }
}

export function decoded(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,8}));/gi, (written, decimal, hex, name) => {
    const point = decimal ? Number(decimal) : hex ? parseInt(hex, 16) : null;
    if (point === null) return ENTITIES[name] ?? written;
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : written;
  });
}

// Return the nodes of a token that is a block of its own. `outline` has the level of the heading before it: a heading goes one level
// down at most, the first to the third, for the page's own end at the second.
export function blockOf(token, outline) {
  if (token.type === "heading") {
    outline.level = Math.min(token.depth + 2, outline.level + 1, 6);
    return [el(`h${outline.level}`, { dir: "auto" }, ...all(token.tokens, 1))];
  }
  return nodes(token).map((node) => (typeof node === "string" ? el("p", { class: "written", dir: "auto" }, node) : node));
}

// Return the nodes of a token, in a block or in a line; text is a string.
function nodes(token, depth = 0) {
  if (depth > DEEPEST) return [token.raw];
  const inner = () => all(token.tokens ?? [], depth + 1);
  switch (token.type) {
    case "space":
    case "def":
    case "checkbox":
      return [];
    case "paragraph":
      return [el("p", { dir: depth ? null : "auto" }, ...inner())]; // Within an item or a quote, theirs counts.
    case "heading":
      return [el("p", {}, el("strong", {}, ...inner()))]; // Within an item or a quote, it heads nothing of the page.
    case "code":
      return [codeBlock(token)];
    case "blockquote":
      return [el("blockquote", { dir: "auto" }, ...inner())];
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
      return token.block ? [el("p", { class: "written", dir: "auto" }, token.raw.trimEnd())] : [token.raw];
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
      return [el("code", { dir: "auto" }, token.text)];
    case "math":
      return [el("span", { class: "math", dir: "ltr" }, token.raw)];
    case "mathBlock":
      return [el("p", { class: "math", dir: "ltr" }, token.raw.trim())];
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

// Return the nodes of tokens; text that stands side by side is one.
export function all(tokens, depth = 0) {
  const found = [];
  for (const node of tokens.flatMap((token) => nodes(token, depth))) {
    if (typeof node === "string" && typeof found.at(-1) === "string") found.push(found.pop() + node);
    else if (node !== "") found.push(node);
  }
  return found;
}

function link(href, children, title) {
  if (!SAFE.test(href)) return children;
  return [el("a", { href, title, target: "_blank", rel: "noopener noreferrer" }, ...children)];
}

function listItem(item, depth) {
  const children = all(item.tokens, depth);
  if (!item.task) return el("li", { dir: "auto" }, ...children);
  return el("li", { class: "task", dir: "auto" }, el("input", { type: "checkbox", disabled: true, checked: item.checked, "aria-label": item.checked ? "done" : "open" }), " ", ...children);
}

function table(token, depth) {
  const cell = (name) => (each) => el(name, { class: each.align && `to-${each.align}` }, ...all(each.tokens, depth));
  const head = el("thead", {}, el("tr", {}, ...token.header.map(cell("th"))));
  const body = el("tbody", {}, ...token.rows.map((row) => el("tr", {}, ...row.map(cell("td")))));
  return el("div", { class: "scroll", dir: "auto", tabindex: 0, role: "group", "aria-label": "Table" }, el("table", {}, head, body));
}

export function languageOf(token) {
  return (token.lang ?? "").split(/\s/)[0].toLowerCase().slice(0, 20);
}

function codeBlock(token) {
  const language = languageOf(token);
  const code = el("code");
  new Highlighted(code, language).show(token.text);
  const bar = el("figcaption", {}, el("span", {}, language || "code"), button("Copy", "copy", (event) => copy(event.currentTarget.closest("figure").querySelector("code").textContent, event.currentTarget), { "aria-label": "Copy the code", class: "quiet copy" }));
  return el("figure", { class: "code" }, bar, el("pre", { dir: "ltr", tabindex: 0, role: "group", "aria-label": `Code${language && `, ${language}`}` }, code));
}
