// Formulas between $…$, $$…$$, \(…\) and \[…\] are left as they were written: what Markdown would make of their stars, lines
// and backslashes is nobody's intent. An extension of `marked`.

import { Lexer } from "./vendor/marked/marked.js";

const CLOSING = { "$$": "$$", "\\(": "\\)", "\\[": "\\]" };
const BLANK = /\n[ \t]*\n/;
const ONE_DOLLAR = /^\$(?![\s$])(?:[^$\\\n]|\\.)*\$(?![\d$])/;
const BEGINS = /\$|\\[([]/;
const BLOCK = /^ {0,3}(\$\$|\\\[)/, BLOCK_BEGINS = /\n {0,3}(?:\$\$|\\\[)/;

// Return how long the formula is with which `text` begins, in a line; 0 where there is none.
function inline(text) {
  const opening = text.slice(0, 2), closing = CLOSING[opening];
  if (!closing) {
    const found = ONE_DOLLAR.exec(text)?.[0] ?? "";
    return /\s\$$/.test(found) ? 0 : found.length; // "$5 and $6" are prices
  }
  const end = text.indexOf(closing, 2);
  return end <= 2 || BLANK.test(text.slice(0, end)) ? 0 : end + 2;
}

// The same of lines that are a formula. One that has not ended may do so with the next text.
function block(text) {
  const opened = BLOCK.exec(text);
  if (!opened) return 0;
  const end = text.indexOf(CLOSING[opened[1]], opened[0].length), stop = text.slice(opened[0].length).search(BLANK);
  if (end < 0) return stop < 0 && /^[ \t]*\n/.test(text.slice(opened[0].length)) ? text.length : 0;
  if (stop >= 0 && opened[0].length + stop < end) return 0;
  return /^[ \t]*(?:\n|$)/.test(text.slice(end + 2)) ? end + 2 : 0;
}

const token = (type, length, text) => (length ? { type, raw: text.slice(0, length) } : undefined);

const extensions = {
  inline: [(text) => (text[0] === "$" || text[0] === "\\" ? token("math", inline(text), text) : undefined)],
  startInline: [(text) => text.search(BEGINS)],
  block: [(text) => token("mathBlock", block(text), text)],
  startBlock: [
    (text) => {
      const paragraph = text.slice(0, (text.search(BLANK) + 1 || text.length + 1) - 1), at = paragraph.search(BLOCK_BEGINS);
      return at >= 0 && block(text.slice(at + 1)) ? at + 1 : -1;
    },
  ],
};

// Cuts Markdown into tokens, with formulas as `math` in a line and `mathBlock`.
export class MathLexer extends Lexer {
  #line = "";

  constructor() {
    super({ gfm: true, extensions, hooks: { emStrongMask: (masked) => this.#mask(masked) } });
  }

  inlineTokens(text, tokens) {
    this.#line = text;
    return super.inlineTokens(text, tokens);
  }

  // Stars within a formula are no emphasis: hide them where `marked` looks for it. What it has hidden already is code or a link.
  #mask(masked) {
    const line = this.#line;
    let hidden = "", at = 0;
    for (let next; (next = line.slice(at).search(BEGINS)) >= 0; ) {
      const from = at + next, length = "$+\\".includes(masked[from]) ? inline(line.slice(from)) || 1 : 1;
      hidden += masked.slice(at, from) + (length > 1 ? "a".repeat(length) : masked[from]);
      at = from + length;
    }
    return hidden + masked.slice(at);
  }
}
