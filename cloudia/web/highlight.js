// Colours for code: comments, strings, numbers and keywords. Of any language a little, of none a parser.

const MOST = 50_000; // characters; longer code stays plain
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

// Fill `code`, an element, with `text`.
export function highlight(code, text, language) {
  code.textContent = text;
  if (!language || PLAIN.includes(language) || text.length > MOST) return;
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(grammar(language))) {
    const { comment, string, number, word } = found.groups;
    const kind = comment ? "comment" : string ? "string" : number ? "number" : KEYWORDS.has(word.toLowerCase()) ? "keyword" : null;
    if (!kind) continue;
    const span = document.createElement("span");
    span.className = `code-${kind}`;
    span.textContent = found[0];
    parts.push(text.slice(at, found.index), span);
    at = found.index + found[0].length;
  }
  code.replaceChildren(...parts, text.slice(at));
}
