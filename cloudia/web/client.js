// A user's client: sends messages, and follows their jobs until each has ended.

import { Answer } from "./answer.js";
import { Checkpoint, Following, TERMINAL_EVENTS, TERMINAL_STATUSES, fromRecord } from "./events.js";
import { EventStream } from "./stream.js";

const SILENT = 5000; // how long a job may be silent before its record is asked for
const UNHEARD = 1200; // the same where its events cannot come: another session's, or no connection
const TICK = 400, SENDS = 4, READY = 3000, MOST_ANSWERS = 500;

// Return a new idempotency key. Not crypto.randomUUID, which is there on https and on loopback alone.
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Client {
  #open = new Map(); // job → { following, heard, here, asking }
  #waiting = []; // whoever waits for the session to have an id
  #renewed = false;

  // `store` is the tab's Store; `on` has `state(state)`, `answer(answer, event)`.
  constructor({ api, access, renew, store, on }) {
    Object.assign(this, { api, access, store, on });
    this.answers = new Map(); // job → Answer
    this.times = {}; // job → { sent, first, ended }: epoch milliseconds
    this.checkpoint = new Checkpoint(store.from);
    this.stream = new EventStream({
      hello: () => ({ ...access(), sessionId: store.session, lastEventId: this.checkpoint.last }),
      onReady: (ready) => this.#ready(ready),
      onEvent: (event) => this.#event(event),
      onState: (state) => on.state(state),
      onUnauthorized: async () => {
        if (this.#renewed) return this.stream.close("Signed out.");
        this.#renewed = true;
        await renew();
        this.stream.connect();
      },
      onReplaced: () => this.#newSession(),
    });
  }

  start() {
    for (const [jobId, times] of Object.entries(this.store.open)) {
      this.times[jobId] = times;
      this.follow(jobId, { here: true });
    }
    this.stream.connect();
    setInterval(() => this.#tick(), TICK);
  }

  // Return the answer of a job, from its first event or from nothing.
  answer(jobId) {
    if (!this.answers.has(jobId)) {
      this.answers.set(jobId, new Answer(jobId));
      if (this.answers.size > MOST_ANSWERS) this.#forget();
    }
    return this.answers.get(jobId);
  }

  // Send a message. One that may not have arrived is sent again with the same key, and is one message; what is refused stays kept.
  async send({ key, content, conversationId, at = Date.now() }) {
    this.store.keep({ key, content, conversationId, at });
    await this.#session();
    const message = { content, idempotency_key: key };
    if (conversationId) message.conversation_id = conversationId;
    if (this.store.session) message.session_id = this.store.session;
    for (let attempt = 1; ; attempt++) {
      try {
        const accepted = await this.api.accept(message);
        this.store.drop(key);
        (this.times[accepted.job_id] ??= {}).sent ??= at;
        this.follow(accepted.job_id, { here: Boolean(message.session_id) });
        return accepted;
      } catch (error) {
        if (!error.passing || attempt === SENDS) throw error;
        await new Promise((done) => setTimeout(done, 300 * 2 ** attempt));
      }
    }
  }

  // Follow a job. `here` says that this session gets its events; else its record is asked for.
  follow(jobId, { here }) {
    const answer = this.answer(jobId);
    if (answer.ended || this.#open.has(jobId)) return answer;
    this.#open.set(jobId, { following: new Following(), heard: performance.now(), here, asking: false });
    if (here) this.store.began(jobId, (this.times[jobId] ??= {}), this.checkpoint.id);
    return answer;
  }

  #ready(ready) {
    this.#renewed = false;
    this.store.session = ready.session_id;
    for (const wake of this.#waiting.splice(0)) wake();
    if (ready.resumed) return;
    for (const [jobId, job] of this.#open) {
      if (!job.here) continue;
      job.following.lose();
      this.#ask(jobId);
    }
  }

  #newSession() {
    // A tab that was duplicated has taken the session with it, or it is another stack's by now: take a new one.
    if (!this.store.session) return false;
    this.store.session = null;
    this.checkpoint = new Checkpoint();
    this.stream.last = null;
    this.store.reached(null);
    for (const job of this.#open.values()) job.here = false;
    return true;
  }

  // Wait a little for the session's id, so that the events of what is sent come here.
  #session() {
    if (this.store.session || this.stream.state.name === "closed") return undefined;
    return Promise.race([
      new Promise((done) => this.#waiting.push(done)),
      new Promise((done) => setTimeout(done, READY)),
    ]);
  }

  #event(event) {
    const jobId = event.job_id;
    this.checkpoint.note(event);
    if (!jobId || this.answer(jobId).ended) return this.#passed(jobId);
    // An event may come before the 202 that names its job.
    if (!this.#open.has(jobId)) this.follow(jobId, { here: true });
    const job = this.#open.get(jobId);
    job.here = true;
    job.heard = performance.now();
    if (job.following.take(event) === "show") this.#show(event);
    else this.#ask(jobId);
  }

  #show(event) {
    const answer = this.answer(event.job_id), times = (this.times[event.job_id] ??= {});
    answer.apply(event);
    if (event.type === "delta" && times.sent) times.first ??= Date.now();
    if (TERMINAL_EVENTS.has(event.type)) {
      times.ended ??= Date.now();
      this.#open.delete(event.job_id);
      this.#passed(event.job_id);
    } else if (event.type !== "delta" || answer.text.length === event.text.length) this.store.save();
    this.on.answer(answer, event);
  }

  #passed(jobId) {
    this.checkpoint.end(jobId);
    this.store.ended(jobId, this.checkpoint.id);
  }

  #tick() {
    const connected = this.stream.state.name === "connected";
    for (const [jobId, job] of this.#open) {
      if (performance.now() - job.heard > (job.here && connected ? SILENT : UNHEARD)) this.#ask(jobId);
    }
  }

  async #ask(jobId) {
    const job = this.#open.get(jobId);
    if (!job || job.asking) return;
    job.asking = true;
    try {
      const record = await this.api.job(jobId);
      if (this.answer(jobId).ended) return;
      if (TERMINAL_STATUSES.has(record.status)) for (const event of fromRecord(record)) this.#show(event);
      else if (record.status === "running" && this.answer(jobId).status === "queued" && !job.here) {
        this.#show({ type: "started", job_id: jobId, conversation_id: record.conversation_id, attempt: record.attempts });
      }
    } catch (error) {
      if (error.passing || this.answer(jobId).ended) return;
      this.#show({ type: "error", job_id: jobId, error: { code: error.code, message: error.message, hint: error.hint } });
    } finally {
      job.asking = false;
      job.heard = performance.now();
    }
  }

  #forget() {
    for (const [jobId, answer] of this.answers) {
      if (!answer.ended) continue;
      this.answers.delete(jobId);
      return;
    }
  }
}
