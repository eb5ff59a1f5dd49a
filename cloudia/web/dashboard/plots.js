// Small plots of the last minutes: lines in SVG, drawn anew with each point. What they show is told in words beside them.

import { el } from "../dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300, HEIGHT = 56;
const POINTS = 150, FEW = 30; // five minutes, and one, of looks every 2 s

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// One plot: a title, what is now, and a line for each of `lines`, which are names. Points are numbers, or null where nobody knows.
export class Plot {
  #series;

  constructor(title, lines, shown) {
    this.#series = lines.map(() => []);
    Object.assign(this, { title, lines, shown });
    this.value = el("p", { class: "value" }, "–");
    this.note = el("p", { class: "about" });
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.most = el("span", { class: "most", "aria-hidden": "true" });
    const key = lines.length > 1 ? lines.map((name, index) => el("span", { class: "key", "data-line": index }, name)) : [];
    this.element = el(
      "section",
      { class: "card plot", "aria-label": title },
      el("div", { class: "head" }, el("h3", {}, title), el("div", { class: "keys", "aria-hidden": "true" }, ...key)),
      this.value,
      this.note,
      el("div", { class: "drawing" }, this.picture, this.most),
    );
  }

  add(points, { value, note = "", tone = "" }) {
    this.#series.forEach((series, index) => {
      series.push(points[index]);
      if (series.length > POINTS) series.shift();
    });
    this.value.textContent = value;
    this.note.textContent = note;
    this.element.dataset.tone = tone;
    this.#draw();
  }

  #draw() {
    const known = this.#series.flat().filter((point) => point != null);
    const most = Math.max(0, ...known);
    this.most.textContent = most > 0 ? this.shown(most) : "";
    this.picture.setAttribute(
      "aria-label",
      `${this.lines.map((name, index) => `${name}: now ${this.#now(index)}`).join(", ")}. At most ${this.shown(most)} since this page was opened, five minutes at most.`,
    );
    this.picture.replaceChildren(
      ...this.#series.flatMap((series, index) => {
        const runs = pieces(series.map((point, at) => (point == null ? null : [this.#x(at, series.length), y(point, most)])));
        const areas = index ? [] : runs.filter((run) => run.length > 1).map((run) => svg("path", { class: "area", d: `M${run[0][0]} ${HEIGHT}L${join(run)}L${run.at(-1)[0]} ${HEIGHT}Z` }));
        return [...areas, ...runs.map((run) => svg("path", { class: "line", "data-line": index, d: `M${join(run.length > 1 ? run : [run[0], run[0]])}`, "vector-effect": "non-scaling-stroke" }))];
      }),
    );
  }

  #now(index) {
    const point = this.#series[index].at(-1);
    return point == null ? "not known" : this.shown(point);
  }

  // The newest point is at the right; older ones move to the left, and closer together until there are five minutes.
  #x(at, count) {
    return Math.round((WIDTH - ((count - 1 - at) * WIDTH) / (Math.max(FEW, count) - 1)) * 10) / 10;
  }
}

const y = (point, most) => Math.round((HEIGHT - 2 - (most ? point / most : 0) * (HEIGHT - 6)) * 10) / 10;
const join = (run) => run.map(([x, at]) => `${x} ${at}`).join("L");

// The runs of points between those that nobody knows.
function pieces(points) {
  const found = [[]];
  for (const point of points) {
    if (point) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length);
}
