// Colours for code: comments, strings, numbers and keywords. Of any language a little, of none a parser.

import { el } from "./dom.js";
import { follow, patch } from "./patch.js";

const MOST = 50_000; // characters that have colours; what follows stays plain
const HASH = "python py bash sh shell zsh ruby rb yaml yml toml dockerfile makefile perl r hcl terraform tf elixir ini".split(" ");
const DASH = "sql lua haskell hs".split(" ");
const PLAIN = "text txt plain markdown md diff output console log".split(" ");
const KEYWORDS = new Set(
  ("abstract and as assert async await begin break by case catch class const continue create def default defer del delete desc do done elif else " +
    "enum esac except export extends extern false fi final finally fn for from func function go goto group having if impl implements import in insert " +
    "instanceof int interface into is join lambda let limit local loop match mod module mut new nil none not null of on or order package pass private " +
    "protected pub public raise return select self set static struct super switch table then this throw trait true try type typeof union unset update " +
    "use using values var void where while with yield").split(" "),
);

function grammar(language) {
  const comment = HASH.includes(language) ? "#[^\\n]*" : DASH.includes(language) ? "--[^\\n]*" : "\\/\\/[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$)";
  const string = "\"\"\"[^]*?(?:\"\"\"|$)|'''[^]*?(?:'''|$)|\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?|`(?:\\\\.|[^`\\\\])*`?";
  return new RegExp(`(?<comment>${comment})|(?<string>${string})|(?<number>\\b\\d[\\w.]*)|(?<word>[A-Za-z_$][\\w$-]*)`, "g");
}

// The colours of a text that grows, in `code`, an element. What stands before the last words is settled and not looked at again.
export class Highlighted {
  #at = 0; // where the next token is looked for
  #plain = 0; // where the text begins that follows the last settled span
  #last = null; // that span

  constructor(code, language) {
    this.code = code;
    this.grammar = !language || PLAIN.includes(language) ? null : grammar(language);
  }

  show(text) {
    const parts = [];
    let plain = this.#plain, kept = 0;
    for (const { at, to, kind } of this.#tokens(text)) {
      const settled = to <= text.length - 2; // What comes next may make more of the last token, or of "/" or "\\" behind it.
      if (settled) this.#at = to;
      if (!kind) continue;
      if (at > plain) parts.push(text.slice(plain, at));
      parts.push(el("span", { class: `code-${kind}` }, text.slice(at, to)));
      plain = to;
      if (settled) [kept, this.#plain] = [parts.length, to];
    }
    if (plain < text.length) parts.push(text.slice(plain));
    patch(this.code, parts, this.#last);
    this.#last = follow(this.code, this.#last, kept);
  }

  *#tokens(text) {
    if (!this.grammar) return;
    this.grammar.lastIndex = this.#at;
    for (let found; (found = this.grammar.exec(text)) && found.index < MOST; ) {
      const { comment, string, number, word } = found.groups;
      const kind = comment ? "comment" : string ? "string" : number ? "number" : KEYWORDS.has(word.toLowerCase()) ? "keyword" : null;
      yield { at: found.index, to: this.grammar.lastIndex, kind };
    }
  }
}
