// One turn on the page: what the user said, and the answer with its state told truthfully.

import { cutText } from "./answer.js";
import { sentence } from "./api.js";
import { announce, beforeFrame, button, copy, cost, el, icon, seconds } from "./dom.js";
import { StreamedMarkdown } from "./streamed.js";

const RESETS = {
  new_attempt: (attempt) => `${attempt[0].toUpperCase()}${attempt.slice(1)}: the one before failed, so the answer began again.`,
  events_interrupted: () => "The stream was interrupted; the answer was sent again from its beginning.",
  reasoning: () => "What came first was the model's reasoning; this is its answer.",
  events_lost: () => "Part of the stream was lost; this is the recorded answer.",
};
const SPOKEN = 1500; // characters of an answer that are said to a screen reader

// A turn's facts, from wherever they came: typed here, read from the history, or streamed.
export class Turn {
  // `state` of the user's message: sending, stored or unsent.
  constructor({ key = null, jobId = null, content = null, at = Date.now(), state = "stored" }) {
    Object.assign(this, { key, jobId, content, at, state, messageId: null, refusal: null, answer: null, reply: null, times: {}, here: true });
  }

  // The answer's state in one shape, whether it is recorded or under way.
  get told() {
    const { reply, answer } = this;
    if (reply && !answer?.ended) return { ...reply, text: reply.content ?? "", version: "recorded", resets: [], attempts: 0, attempt: "" };
    if (!answer) return null;
    const { status, text, usage, model, finish, thinking, error, resets, attempts, attemptText: attempt } = answer;
    return { status, text, usage, model, finish, thinking, error, resets, attempts, attempt, version: resets.length };
  }

  get ended() {
    const told = this.told;
    return told !== null && told.status !== "queued" && told.status !== "running";
  }

  get failed() {
    return this.state === "unsent" || ["failed", "dead_lettered"].includes(this.told?.status);
  }
}

// `actions` has again(turn), edit(turn), discard(turn), now().
export class TurnView {
  #timer = null;
  #status = null;

  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.said = el("div", { class: "said", dir: "auto" });
    this.trouble = el("div", { class: "trouble", hidden: true });
    this.edit = button("Edit", "edit", () => actions.edit(turn), { title: "Edit and send again" });
    this.user = el("article", { class: "user", "aria-label": "You" }, this.said, this.trouble, el("div", { class: "tools" }, this.edit));
    this.note = el("p", { class: "note", hidden: true });
    this.body = el("div", { class: "body" });
    this.waiting = el("p", { class: "waiting" });
    this.error = el("div", { class: "trouble", hidden: true });
    this.facts = el("span", { class: "facts" });
    this.copy = button("Copy", "copy", (event) => copy(turn.told.text, event.currentTarget), { "aria-label": "Copy the answer" });
    this.foot = el("footer", { hidden: true }, this.facts, this.copy);
    this.assistant = el("article", { class: "assistant", "aria-label": "Answer", hidden: true }, this.note, this.body, this.waiting, this.error, this.foot);
    this.element = el("section", { class: "turn" }, this.user, this.assistant);
    this.markdown = new StreamedMarkdown(this.body);
    this.draw = () => this.#draw();
    this.#draw();
  }

  update() {
    beforeFrame(this.draw);
  }

  remove() {
    clearTimeout(this.#timer);
    this.element.remove();
  }

  #draw() {
    const { turn } = this, told = turn.told;
    if (turn.jobId) this.element.dataset.job = turn.jobId;
    this.user.hidden = turn.content === null;
    if (this.said.textContent !== turn.content) this.said.textContent = turn.content;
    this.user.classList.toggle("sending", turn.state === "sending");
    this.edit.hidden = turn.state === "sending";
    this.#drawRefusal();
    this.assistant.hidden = told === null || turn.state === "unsent";
    if (!told) return;
    this.assistant.dataset.status = told.status;
    this.assistant.setAttribute("aria-busy", String(!turn.ended));
    this.markdown.show(told.text, told.version, turn.ended);
    this.#drawNote(told);
    this.#drawWaiting(told);
    if (told.status !== this.#status) this.#drawEnd(told);
    this.#status = told.status;
    this.onDrawn?.();
  }

  #drawNote({ resets, attempt }) {
    const reason = resets.at(-1);
    const text = reason === undefined ? "" : (RESETS[reason] ?? RESETS.new_attempt)(attempt);
    this.note.hidden = !text;
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  #drawWaiting({ status, text, thinking }) {
    const waits = !this.turn.ended && !text;
    this.waiting.hidden = !waits;
    if (!waits) return;
    const words = this.waitsForAnother?.() ? "Waiting for the answer before this one" : !this.turn.here ? "Being answered elsewhere" : status === "queued" ? "Waiting for a worker" : thinking ? "Reasoning" : "Thinking";
    if (this.waiting.dataset.words === words) return;
    this.waiting.dataset.words = words;
    this.waiting.replaceChildren(words, el("span", { class: "dots", "aria-hidden": true }, el("i"), el("i"), el("i")));
  }

  #drawEnd(told) {
    const { turn } = this;
    this.foot.hidden = !turn.ended;
    clearTimeout(this.#timer);
    this.error.hidden = !turn.failed;
    if (!turn.ended) return;
    this.facts.textContent = this.#facts(told).join(" · ");
    this.copy.hidden = !told.text;
    if (turn.failed) this.#drawError(told);
    if (this.#status === "queued" || this.#status === "running") announce(this.#spoken(told));
  }

  #facts({ status, usage, model, finish, attempts, attempt }) {
    const { sent, first, ended } = this.turn.times;
    return [
      status === "cancelled" && "Stopped",
      cutText({ status, finish }),
      model,
      usage?.output_tokens != null && `${usage.output_tokens} tokens`,
      cost(usage?.cost_usd),
      first >= sent && `first token ${seconds(first - sent)}`, // not so where the clock was set in between
      ended >= sent && `${seconds(ended - sent)} in all`,
      attempts > 1 && attempt,
    ].filter(Boolean);
  }

  #spoken({ status, text, error }) {
    if (this.turn.failed) return [error?.message, error?.hint].filter(Boolean).join(" ");
    const start = status === "cancelled" ? "The answer was stopped." : "Answer.";
    return `${start} ${this.body.innerText.slice(0, SPOKEN)}${text.length > SPOKEN ? "…" : ""}`;
  }

  // The message that was not accepted.
  #drawRefusal() {
    const { refusal, state } = this.turn;
    this.trouble.hidden = state !== "unsent";
    if (state !== "unsent") return;
    const again = button("Try again", "again", () => this.actions.again(this.turn), { class: "again" });
    const discard = button("Discard", "delete", () => this.actions.discard(this.turn));
    this.trouble.replaceChildren(
      el("p", {}, el("strong", {}, "Not sent. "), refusal.message, " ", refusal.hint),
      el("div", { class: "row" }, again, discard),
    );
  }

  // The answer that failed: what happened, when to try again, where the dead letter is.
  #drawError({ status, error, created_at: recorded }) {
    const fault = error ?? {}, hint = el("p", {}, fault.hint ? sentence(fault.hint) : "");
    const told = el("div", {}, el("p", {}, el("strong", {}, fault.message ?? "This turn failed.")), hint);
    if (status === "dead_lettered") told.append(this.#deadLetter());
    if (fault.retryable !== false) {
      const again = button("Try again", "again", () => again.getAttribute("aria-disabled") || this.actions.again(this.turn), { class: "again" });
      told.append(el("div", { class: "row" }, again));
      // By the stack's clock since it was recorded, then by one that nobody sets.
      const passed = recorded ? Math.max(0, this.actions.now() - Date.parse(recorded)) : 0;
      if (fault.retry_after) this.#countDown(again, hint, performance.now() + fault.retry_after * 1000 - passed);
    }
    this.error.replaceChildren(icon("alert"), told);
  }

  #deadLetter() {
    const command = `cloudia dlq show ${this.turn.jobId}`;
    return el("p", { class: "command" }, "It is a dead letter: ", el("code", {}, command), button("Copy", "copy", (event) => copy(command, event.currentTarget), { "aria-label": "Copy the command" }));
  }

  // The API's hint says "in 30 s", which is true only once; the button counts.
  #countDown(again, hint, until) {
    const left = Math.ceil((until - performance.now()) / 1000), label = again.querySelector("span");
    if (left > 0) {
      hint.textContent = "The provider is being left alone for a moment.";
      again.setAttribute("aria-disabled", "true");
      label.textContent = `Try again in ${left} s`;
      this.#timer = setTimeout(() => this.#countDown(again, hint, until), 250);
    } else {
      hint.textContent = "You can try again now.";
      again.removeAttribute("aria-disabled");
      label.textContent = "Try again";
    }
  }
}
