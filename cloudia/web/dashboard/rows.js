// Tables whose rows stay where they are while what is in them changes, so that focus, selection and scrolling do too.

import { el } from "../dom.js";

// A table with these columns, each { name, number }, in `place`. `show(items)` makes its rows by `cells(item)`.
export class Rows {
  #rows = new Map();

  // `href(item)` is where a row leads; its first cell is the link.
  constructor(place, { label, columns, keyOf, cells, href, none }) {
    Object.assign(this, { columns, keyOf, cells, href });
    const heads = columns.map(({ name, number }) => el("th", { scope: "col", class: number ? "number" : null }, name));
    this.body = el("tbody");
    this.none = el("p", { class: "none" }, none);
    this.table = el("table", {}, el("caption", { class: "hidden" }, label), el("thead", {}, el("tr", {}, ...heads)), this.body);
    if (!href) {
      place.tabIndex = 0; // Where it is scrolled sideways the keyboard has nothing else in it to reach.
      place.setAttribute("role", "group");
      place.setAttribute("aria-label", label);
    }
    place.replaceChildren(this.table, this.none);
    this.show([]);
    this.none.hidden = true; // until it is known
  }

  show(items, current = null) {
    const wanted = new Set();
    let before = null;
    for (const item of items) {
      const id = this.keyOf(item), told = JSON.stringify(item), known = this.#rows.get(id);
      wanted.add(id);
      if (known?.told !== told) {
        const row = this.#row(item), held = known?.row.contains(document.activeElement);
        known?.row.replaceWith(row);
        this.#rows.set(id, { row, told });
        if (held) row.querySelector("a")?.focus({ preventScroll: true });
      }
      const { row } = this.#rows.get(id);
      const next = before ? before.nextSibling : this.body.firstChild;
      if (next !== row) this.body.insertBefore(row, next);
      const link = row.querySelector("a");
      if (link && id === current) link.setAttribute("aria-current", "true");
      else link?.removeAttribute("aria-current");
      before = row;
    }
    for (const [id, { row }] of this.#rows) {
      if (wanted.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    this.table.hidden = items.length === 0;
    this.none.hidden = items.length > 0;
  }

  #row(item) {
    const cells = this.cells(item).map((cell, index) => {
      const { name, number } = this.columns[index];
      const shown = index === 0 && this.href ? el("a", { href: this.href(item) }, cell ?? "") : (cell ?? "");
      return el("td", { class: number ? "number" : null, "data-name": name }, shown);
    });
    return el("tr", {}, ...cells);
  }
}

const WORDS = { dead_lettered: "dead letter" };

// How something stands, as a word with a colour.
export function pill(status) {
  return el("span", { class: "pill", "data-status": status }, WORDS[status] ?? String(status).replaceAll("_", " "));
}

// How long ago something was; it goes on by itself.
export function age(time) {
  return el("time", { datetime: time, title: new Date(time).toLocaleString(), "data-age": true }, ago(time));
}

let ahead = () => 0;

// Let ages be by the stack's clock.
export function clock(read) {
  ahead = () => read() - Date.now();
}

function ago(time) {
  return span(Math.max(0, (Date.now() + ahead() - Date.parse(time)) / 1000), true);
}

setInterval(() => {
  if (document.hidden) return;
  for (const shown of document.querySelectorAll("time[data-age]")) {
    const words = ago(shown.dateTime);
    if (shown.textContent !== words) shown.textContent = words;
  }
}, 1000);

// Seconds as `120 ms`, `4.2 s`, `3.5 min`, `2 h`; `whole` ones without fractions.
export function span(seconds, whole = false) {
  if (seconds == null) return "–";
  if (seconds < 1 && !whole) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${whole ? Math.floor(seconds) : seconds.toFixed(1)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(whole ? 0 : 1)} min`;
  return seconds < 129_600 ? `${(seconds / 3600).toFixed(0)} h` : `${(seconds / 86_400).toFixed(0)} d`;
}

export const number = (value) => (value == null ? "–" : value.toLocaleString("en"));

// A definition list of `[name, value]`, without what is not known.
export function facts(...pairs) {
  const known = pairs.filter(([, value]) => value != null && value !== "");
  return el("dl", { class: "facts" }, ...known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
