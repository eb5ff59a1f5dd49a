// One message's parts over time: a row each, its bar where it lies in the whole.

import { el } from "../dom.js";
import { span } from "./rows.js";

export function waterfall({ parts, seconds }) {
  const whole = Math.max(seconds, ...parts.map((part) => part.at_seconds + part.seconds), 0.001);
  return el("ol", { class: "waterfall" }, ...parts.map((part) => row(part, whole)));
}

function row(part, whole) {
  const bar = el("span", { class: "bar", "aria-hidden": "true", "data-kind": part.kind, "data-failed": String(part.failed) });
  bar.style.setProperty("--at", `${(100 * part.at_seconds) / whole}%`);
  bar.style.setProperty("--long", `${(100 * part.seconds) / whole}%`);
  return el(
    "li",
    { class: part.within ? "within" : null },
    el("span", { class: "name" }, part.name),
    el("span", { class: "track" }, bar),
    el("span", { class: "time" }, span(part.seconds)),
    ...part.remarks.map((remark) => el("span", { class: "remark", "data-failed": String(part.failed) }, remark)),
  );
}
