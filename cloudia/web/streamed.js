// An answer's text as it grows, as Markdown. Blocks that nothing can change any more are made once. So is what is settled of the
// block that grows: the items of a list but the last ones, a table's rows, lines of code, the words of a paragraph. What a frame
// costs goes by what has come, not by what is there.

import { Highlighted } from "./highlight.js";
import { all, blockOf, decoded, languageOf, lex } from "./markdown.js";
import { follow, patch } from "./patch.js";

const DECIDED = 300; // characters, or three lines: what has so much behind it is what it is
const TOP = 2; // the level of the page's own headings
const KEPT = 2; // items, rows and lines at the end that are not settled yet
const HEAD = "w "; // stands for what is settled of a paragraph
const MARKUP = /[*_~`[\]<$\\|]/; // with one of these, text may yet become something else

// Return the nodes of each block, and the level of the last heading up to it.
function blocksOf(tokens, level) {
  const outline = { level };
  return tokens.map((token) => ({ nodes: blockOf(token, outline), level: outline.level }));
}

export class StreamedMarkdown {
  #text = "";
  #version = null;
  #whole = false;
  #links = {};
  #from = 0; // where what is looked at begins
  #block = 0; // where the first block of it begins
  #last = null; // the node before that block
  #level = TOP; // of the heading before it
  #settled = null; // what is made of that block: { type, head, … }

  constructor(root) {
    this.root = root;
  }

  // Show `text`. Another `version` is another text; the same one has only grown. `whole` says that it grows no more.
  show(text, version, whole = false) {
    if (text.includes("\r")) text = text.replaceAll("\r", "");
    const grown = version === this.#version && text.startsWith(this.#text) && (!this.#whole || text === this.#text);
    if (!grown) this.#begin(version);
    if (text === this.#text && whole === this.#whole) return;
    this.#text = text;
    this.#whole = whole;
    // At the end the whole text has the last word: it may say what a link's name means after the link.
    if (whole) patch(this.root, blocksOf(lex(text), TOP).flatMap(({ nodes }) => nodes));
    else this.#grow();
  }

  #begin(version) {
    this.root.replaceChildren();
    this.#version = version;
    this.#text = "";
    this.#whole = false;
    this.#links = {};
    this.#from = this.#block = 0;
    this.#last = null;
    this.#level = TOP;
    this.#settled = null;
  }

  #grow() {
    const tokens = this.#tokens(), joined = this.#settled ? 1 : 0; // The first one may go on with a block that is there.
    if (joined) this.#join(tokens[0]);
    const blocks = blocksOf(tokens.slice(joined), this.#level);
    patch(this.root, blocks.flatMap(({ nodes }) => nodes), follow(this.root, this.#last, joined));
    const open = this.#open(tokens);
    if (open < 0) return;
    if (open > 0) {
      const passed = blocks.slice(0, open - joined);
      this.#from += tokens.slice(0, open).reduce((sum, token) => sum + token.raw.length, 0) - (this.#settled?.head.length ?? 0);
      this.#block = this.#from;
      this.#last = follow(this.root, this.#last, joined + passed.flatMap(({ nodes }) => nodes).length);
      this.#level = passed.at(-1)?.level ?? this.#level;
      this.#settled = null;
    }
    this.#settle(tokens[open]);
  }

  // Cut what is looked at into tokens, the first of which goes on with the settled block, unless it turned out to be another.
  #tokens() {
    if (this.#settled) {
      const { type, head, loose } = this.#settled;
      const tokens = lex(head + this.#text.slice(this.#from), this.#links);
      if (tokens[0]?.type === type && !(type === "list" && tokens[0].loose && !loose)) return tokens;
      this.#from = this.#block;
      this.#settled = null;
    }
    return lex(this.#text.slice(this.#from), this.#links);
  }

  // Return the place of the first block that may still change, -1 where there is none. The last one may, and those before it that have
  // so little behind them that it may turn out to be theirs: "2" a next item, dashes an underline, a formula without its end a text.
  #open(tokens) {
    let open = -1, behind = "";
    for (let index = tokens.length - 1; index >= 0; index--) {
      const { type, raw } = tokens[index];
      if (type === "space") continue;
      if (behind.length > DECIDED || behind.split("\n", 4).length > 3) break;
      open = index;
      behind = type === "mathBlock" && behind === "" ? "" : raw.slice(0, DECIDED + 1) + behind;
    }
    return open;
  }

  // Make the rest of the settled block.
  #join(token) {
    const { element, after, text, highlighted, loose } = this.#settled;
    switch (token.type) {
      case "code":
        highlighted.show(text + token.text);
        break;
      case "list":
        if (loose) for (const item of token.items) for (const each of item.tokens) if (each.type === "text") each.type = "paragraph";
        patch(element, [...blockOf(token)[0].children], after);
        break;
      case "table":
        patch(element, [...blockOf(token)[0].querySelectorAll("tbody > tr")], after);
        break;
      case "paragraph": {
        const [start, ...rest] = all(token.tokens, 1);
        patch(element, [text + start.slice(HEAD.length), ...rest], after);
      }
    }
  }

  // Note what of a block is settled.
  #settle(token) {
    const node = follow(this.root, this.#last, 1), was = this.#settled;
    const since = (head) => token.raw.slice(head.length).split("\n").slice(0, -KEPT);
    const cut = (lines) => lines.reduce((sum, line) => sum + line.length + 1, 0);
    switch (token.type) {
      case "list": {
        const items = token.items.slice(0, -KEPT);
        if (items.length === 0) return;
        this.#from += items.reduce((sum, item) => sum + item.raw.length, 0);
        this.#settled = { type: "list", head: "", element: node, after: follow(node, was?.after ?? null, items.length), loose: token.loose || Boolean(was?.loose) };
        return;
      }
      case "table": {
        const head = token.raw.split("\n", 2).join("\n") + "\n", lines = since(head);
        if (lines.length === 0 || token.rows.length <= lines.length) return;
        this.#from += cut(lines) + (was ? 0 : head.length);
        const element = node.querySelector("tbody");
        this.#settled = { type: "table", head, element, after: follow(element, was?.after ?? null, lines.length) };
        return;
      }
      case "code": {
        if (token.codeBlockStyle === "indented") return;
        const head = token.raw.split("\n", 1)[0] + "\n", shown = token.text.split("\n"), lines = since(head).slice(0, shown.length - 1);
        if (lines.length === 0) return;
        const text = (was?.text ?? "") + shown.slice(0, lines.length).map((line) => `${line}\n`).join("");
        this.#from += cut(lines) + (was ? 0 : head.length);
        const highlighted = was?.highlighted ?? new Highlighted(node.querySelector("code"), languageOf(token));
        this.#settled = { type: "code", head, text, highlighted };
        return;
      }
      case "paragraph":
        return this.#settleWords(token, node, was);
    }
  }

  // Of a paragraph, the words before the last one, as far as all that might be markup before them has found its end.
  #settleWords({ tokens }, node, was) {
    let at = 0, cut = null;
    for (const [index, { type, raw }] of tokens.entries()) {
      if (type === "text") {
        if (MARKUP.test(raw)) break;
        const space = /^[^]*\w (?=\w)/.exec(raw)?.[0].length;
        if (space && tokens[index - 1]?.type !== "text") cut = { index, space, at: at + space };
      } else if (!["link", "codespan", "br"].includes(type) && !(["strong", "em", "del"].includes(type) && isSettled(raw))) break;
      at += raw.length;
    }
    if (!cut || (was && cut.at <= HEAD.length)) return;
    const before = all(tokens.slice(0, cut.index), 1).length, words = tokens[cut.index].raw.slice(0, cut.space);
    const text = was && cut.index === 0 ? was.text + decoded(words.slice(HEAD.length)) : decoded(words);
    this.#from += cut.at - (was ? HEAD.length : 0);
    this.#settled = { type: "paragraph", head: HEAD, element: node, after: follow(node, was?.after ?? null, before), text };
  }
}

// Tell whether emphasis has nothing in it that might belong to what comes behind it.
function isSettled(raw) {
  const mark = /^[*_~]+/.exec(raw)[0];
  return raw.endsWith(mark) && !MARKUP.test(raw.slice(mark.length, -mark.length));
}
