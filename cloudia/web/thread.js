// The conversation that is shown: its newest page first, older ones as one scrolls up, new turns at the end.

import { $, el } from "./dom.js";
import { Turn, TurnView } from "./turn.js";

const NEAR_END = 24, NEAR_START = 800;

export class Thread {
  #views = []; // in the order of the page
  #cursor = null; // of the next older page
  #loading = null; // of that page
  #opened = 0; // which opening is the newest
  #follows = true; // whether the end stays in view
  #at = 0; // where the log was scrolled to

  // `onConversation` is given what is opened; `onMissing` is told that it is not there, `onGone` that what is shown is there no more.
  constructor({ log, api, client, actions, onChange, onMissing, onGone, onConversation }) {
    Object.assign(this, { log, api, client, actions, onChange, onMissing, onGone, onConversation, id: null, gone: false, latest: $("latest") });
    this.list = el("div", { class: "turns" });
    this.older = el("p", { class: "older", hidden: true }, "Loading earlier messages…");
    log.append(this.older, this.list);
    log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    document.addEventListener("selectionchange", () => this.#selected());
    this.latest.addEventListener("click", () => this.#follow(true));
    const resized = new ResizeObserver(() => this.#resized());
    resized.observe(this.list);
    resized.observe(log);
  }

  get turns() {
    return this.#views.map((view) => view.turn);
  }

  // The turn that is under way, if any; what was sent after it waits for it.
  get active() {
    return this.turns.find((turn) => turn.state === "sending" || (turn.state === "stored" && turn.content !== null && !turn.ended));
  }

  get opening() {
    return this.log.classList.contains("loading");
  }

  get empty() {
    return this.#views.length === 0;
  }

  // Show a conversation; null is a new one.
  async open(id) {
    const opening = ++this.#opened;
    this.clear();
    this.id = id;
    this.log.classList.toggle("loading", Boolean(id));
    this.onChange();
    if (!id) return;
    try {
      const page = await this.api.messages(id);
      if (opening !== this.#opened) return;
      this.onConversation(page.conversation);
      this.#cursor = page.next_cursor;
      this.#merge(page.messages);
      this.older.hidden = !this.#cursor;
      this.toEnd();
    } catch (error) {
      if (opening !== this.#opened) return;
      this.onMissing(error);
    } finally {
      if (opening === this.#opened) this.log.classList.remove("loading");
      this.onChange();
    }
  }

  // Take in what another tab, or another client, did meanwhile.
  async refresh() {
    const opening = this.#opened, id = this.id;
    if (!id || this.gone) return;
    try {
      const page = await this.api.messages(id);
      if (opening === this.#opened) this.#merge(page.messages);
    } catch (error) {
      if (opening === this.#opened && error.status === 404) this.onGone();
    }
    this.onChange();
  }

  clear() {
    for (const view of this.#views.splice(0)) view.remove();
    this.#cursor = null;
    this.gone = false;
    this.#follow(true);
    this.older.hidden = true;
  }

  add(turn) {
    const view = this.#view(turn);
    this.#views.push(view);
    this.list.append(view.element);
    this.#follow(true);
    this.onChange();
  }

  // A turn was accepted: it is this job's, and if the job is here already, they are one.
  accepted(turn, { job_id: jobId, message_id: messageId }) {
    const twin = this.#views.find((view) => view.turn !== turn && view.turn.jobId === jobId);
    if (twin) this.discard(twin.turn);
    Object.assign(turn, { jobId, messageId, state: "stored" });
    this.#bind(turn);
    this.update(turn);
    this.onChange();
  }

  discard(turn) {
    const at = this.#views.findIndex((view) => view.turn === turn);
    if (at < 0) return;
    this.#views.splice(at, 1)[0].remove();
    this.onChange();
  }

  update(turn) {
    this.#views.find((view) => view.turn === turn)?.update();
  }

  // An event changed the answer of a job.
  answered(answer) {
    const view = this.#views.findLast((each) => each.turn.jobId === answer.jobId);
    if (!view || view.turn.reply) return;
    view.turn.answer = answer;
    view.turn.times = this.client.times[answer.jobId] ?? {};
    view.turn.here ||= answer.text !== "";
    view.update();
    if (answer.ended) for (const each of this.#views) each.turn.ended || each.update(); // it is the next one's turn
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  #view(turn) {
    const view = new TurnView(turn, this.actions);
    view.onDrawn = () => this.#follows && this.toEnd();
    view.waitsForAnother = () => ![undefined, turn].includes(this.active);
    return view;
  }

  // Give a turn without a recorded answer the one that is under way.
  #bind(turn) {
    if (turn.reply || !turn.jobId) return;
    const known = this.client.answers.has(turn.jobId);
    turn.here = known;
    turn.answer = this.client.follow(turn.jobId, { here: false });
    turn.times = this.client.times[turn.jobId] ?? {};
  }

  #merge(messages) {
    const touched = new Set();
    for (const message of messages) {
      let view = this.#views.find((each) => each.turn.jobId === message.job_id);
      if (!view) {
        view = this.#view(new Turn({ jobId: message.job_id }));
        this.#insert(view, message.message_id);
      }
      const { turn } = view;
      if (message.role === "user") Object.assign(turn, { content: message.content, messageId: message.message_id, at: Date.parse(message.created_at) });
      else if (!turn.answer?.ended) turn.reply = message;
      turn.messageId ??= message.message_id;
      touched.add(view);
    }
    for (const view of touched) {
      if (view.turn.state === "stored" && !view.turn.answer && !view.turn.reply && view.turn.content !== null) this.#bind(view.turn);
      view.draw();
    }
  }

  // Ids of messages sort by time; what has none yet stands at the end.
  #insert(view, messageId) {
    view.turn.messageId = messageId;
    const at = this.#views.findIndex((each) => each.turn.messageId === null || each.turn.messageId > messageId);
    if (at < 0) {
      this.#views.push(view);
      this.list.append(view.element);
    } else {
      this.#views[at].element.before(view.element);
      this.#views.splice(at, 0, view);
    }
  }

  // Whoever scrolls up, however little, reads there; whoever scrolls down to the end wants to see what comes.
  #scrolled() {
    const { scrollTop } = this.log, left = this.#left, down = scrollTop > this.#at;
    if (left < 1 || (down && left < NEAR_END)) this.#follow(true);
    else if (scrollTop < this.#at) this.#follow(false);
    this.#at = this.log.scrollTop;
    if (scrollTop < NEAR_START) this.#loadOlder();
  }

  // Nor is what someone marks moved away.
  #selected() {
    const selection = getSelection();
    if (!selection.isCollapsed && this.list.contains(selection.anchorNode)) this.#follow(false);
  }

  #resized() {
    if (this.#follows) this.toEnd();
    this.latest.hidden = this.#follows || this.#left < NEAR_END;
  }

  // How many pixels there are below what is seen.
  get #left() {
    const { scrollTop, scrollHeight, clientHeight } = this.log;
    return scrollHeight - scrollTop - clientHeight;
  }

  #follow(follows) {
    this.#follows = follows;
    this.#resized();
  }

  get isWhole() {
    return this.#cursor === null;
  }

  // Read all earlier messages, as far as they can be read.
  async whole() {
    for (let before = null; this.#cursor && this.#cursor !== before; ) {
      before = this.#cursor;
      await this.#loadOlder();
    }
  }

  #loadOlder() {
    if (this.#cursor) this.#loading ??= this.#readOlder().finally(() => (this.#loading = null));
    return this.#loading;
  }

  async #readOlder() {
    const opening = this.#opened;
    try {
      const page = await this.api.messages(this.id, this.#cursor, 100);
      if (opening !== this.#opened) return;
      const fromEnd = this.log.scrollHeight - this.log.scrollTop;
      this.#cursor = page.next_cursor;
      this.#merge(page.messages);
      this.older.hidden = !this.#cursor;
      this.log.scrollTop = this.log.scrollHeight - fromEnd; // what was in view stays there
    } catch {
      // The next scroll tries again.
    }
  }
}
