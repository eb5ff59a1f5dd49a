// Messages: a list by how they stand, and one of them whole.

import { $, button, copy, cost, el } from "../dom.js";
import { Rows, age, facts, number, pill, span } from "./rows.js";
import { waterfall } from "./waterfall.js";

const SLOW_SECONDS = 5;
const FILTERS = { all: {}, open: { state: "open" }, unanswered: { state: "unanswered" }, slow: { slower: SLOW_SECONDS } };
const ENDED = ["done", "failed", "cancelled", "dead_lettered"];

export class Messages {
  #filter = "all";
  #pages = 1;
  #told = "";
  #users = new Set();

  constructor(api) {
    this.api = api;
    this.rows = new Rows($("messages"), {
      label: "Messages, newest first",
      columns: [{ name: "Accepted" }, { name: "Status" }, { name: "Time", number: true }, { name: "Attempts", number: true }, { name: "Model" }, { name: "Cost", number: true }, { name: "Error" }],
      keyOf: ({ job_id: id }) => id,
      cells: (job) => [age(job.accepted_at), pill(job.status), span(job.seconds), number(job.attempts), job.model ?? "", cost(job.cost_usd), job.error ?? ""],
      href: ({ job_id: id }) => `#messages/${id}`,
      none: "No message is like that.",
    });
    for (const choice of $("filters").children) choice.addEventListener("click", () => this.filter(choice.dataset.filter));
    $("messages-more").addEventListener("click", () => {
      this.#pages += 1;
      this.tick(this.id).catch(() => {}); // the next tick tells
    });
    this.filter("all");
  }

  filter(name) {
    this.#filter = name;
    this.#pages = 1;
    for (const choice of $("filters").children) choice.setAttribute("aria-pressed", String(choice.dataset.filter === name));
    if (this.id !== undefined) this.tick(this.id).catch(() => {});
  }

  // Users that were seen in the list.
  get users() {
    return [...this.#users].sort();
  }

  async tick(id) {
    this.id = id;
    const asked = this.#filter, jobs = [];
    let cursor = null, pages = 0;
    do {
      const page = await this.api.call("GET", `/operator/jobs?${query({ ...FILTERS[asked], limit: 50, cursor })}`);
      jobs.push(...page.jobs);
      cursor = page.next_cursor;
      pages += 1;
    } while (cursor && pages < this.#pages);
    if (asked !== this.#filter) return;
    for (const { user_id: user } of jobs) this.#users.add(user);
    const once = [...new Map(jobs.map((job) => [job.job_id, job])).values()];
    this.rows.show(once, id);
    $("messages-more").hidden = !cursor;
    const chosen = once.find(({ job_id: each }) => each === id);
    if (chosen && chosen.status !== $("message").dataset.status) this.stale(); // Someone redrove it.
    await this.#one(id);
  }

  async #one(id) {
    const place = $("message");
    if (!id) {
      this.#told = "";
      place.replaceChildren(el("p", { class: "none" }, "Choose a message to see where its time went."));
      return;
    }
    if (place.dataset.id === id && ENDED.includes(place.dataset.status) && this.#told) return; // It changes no more, until it is redriven.
    const job = await this.api.call("GET", `/operator/jobs/${id}`).catch((error) => {
      if (error.passing) throw error;
      place.replaceChildren(back("#messages"), el("p", { class: "none" }, error.message));
    });
    if (!job || this.id !== id) return;
    const told = JSON.stringify(job);
    if (told === this.#told) return;
    this.#told = told;
    Object.assign(place.dataset, { id, status: job.status });
    place.replaceChildren(...detail(job));
  }

  // What is shown may have changed though it had ended.
  stale() {
    this.#told = "";
  }
}

function detail(job) {
  const logs = `cloudia logs --job ${job.job_id}`;
  return [
    back("#messages"),
    el("div", { class: "bar" }, el("h2", {}, pill(job.status), " ", el("code", {}, job.job_id)), copier("Copy the id", job.job_id)),
    el("p", { class: "why", "data-status": job.status }, job.why, job.advice ? el("span", { class: "advice" }, ` ${job.advice}`) : null),
    facts(
      ["accepted", new Date(job.accepted_at).toLocaleString()],
      ["took", span(job.seconds)],
      ["user", el("a", { href: `#conversations/${encodeURIComponent(job.user_id)}/${job.conversation_id}` }, job.user_id)],
      ["model", [job.provider, job.model].filter(Boolean).join(" ")],
      ["cost", cost(job.cost_usd)],
      ["finish", job.finish],
    ),
    block("Where its time went", waterfall(job)),
    block("What was said", said(job)),
    block("Attempts", attempts(job.attempt_history)),
    block("Evidence", el("ul", { class: "evidence" }, ...job.evidence.map((line) => el("li", {}, line)))),
    block("Its logs", el("div", { class: "command" }, el("code", {}, logs), copier("Copy", logs))),
    job.status === "dead_lettered" ? el("p", {}, el("a", { href: `#letters/${job.job_id}` }, "Its dead letter: look at it, edit it, redrive it")) : null,
  ].filter(Boolean);
}

function said({ content_shown: shown, prompt, answer, failure }) {
  if (!shown) return el("p", { class: "none" }, "Text is not shown here: the function's OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT does not allow it.");
  const reply = answer || (failure ? `${failure.message} ${failure.hint}` : "There is no answer yet.");
  return el("div", { class: "both" }, text("Prompt", prompt ?? "The message is no longer there."), text("Answer", reply));
}

export function text(label, content) {
  return el("figure", {}, el("figcaption", {}, label), el("div", { class: "text", dir: "auto", tabindex: "0", role: "group", "aria-label": label }, content));
}

export function attempts(history) {
  if (!history.length) return el("p", { class: "none" }, "No worker has begun it.");
  const place = el("div", { class: "scroll" });
  new Rows(place, {
    label: "Attempts, the first one first",
    columns: [{ name: "Attempt" }, { name: "Ended" }, { name: "Took", number: true }, { name: "First text", number: true }, { name: "Back-off", number: true }, { name: "Tokens", number: true }, { name: "Cost", number: true }],
    keyOf: ({ fence }) => fence,
    cells: (each) => [
      each.attempt ?? "?",
      ended(each),
      each.ended_at ? span(between(each.began_at, each.ended_at)) : "",
      each.first_text_at ? span(between(each.began_at, each.first_text_at)) : "",
      each.delay == null ? "" : span(each.delay),
      each.usage?.input_tokens == null ? "" : `${number(each.usage.input_tokens)} + ${number(each.usage.output_tokens)}`,
      cost(each.usage?.cost_usd),
    ],
    none: "",
  }).show(history);
  return place;
}

// How an attempt ended, whom it asked, and why it failed.
function ended({ outcome, ended_at: at, code, reason, switches, provider, model }) {
  const why = [[code, reason].filter(Boolean).join(": "), ...(switches ?? [])].filter(Boolean).join("; ");
  const asked = [provider, model].filter(Boolean).join(" ");
  return el("span", {}, pill(outcome ?? (at ? "lost" : "running")), asked ? el("small", {}, asked) : null, why ? el("small", { class: "why-not" }, why) : null);
}

const between = (from, to) => Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);

export function block(title, ...children) {
  return el("section", { class: "block" }, el("h3", {}, title), ...children);
}

export function back(href) {
  return el("a", { class: "back", href }, "Back to the list");
}

export function copier(label, content) {
  return button(label, "copy", (event) => copy(content, event.currentTarget));
}

export function query(parameters) {
  return new URLSearchParams(Object.entries(parameters).filter(([, value]) => value != null));
}
