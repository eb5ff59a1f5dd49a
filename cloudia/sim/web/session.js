// A session: one WebSocket at a time, each event once and in order, resumed after a break.

const FIRST_BACKOFF = 200, LAST_BACKOFF = 5000, POLL = 5000;
const FINAL_CODES = { 4400: "the gateway refused this page", 4401: "signed out; reload the page", 4409: "this chat went on in another tab" };
const ENDED = new Set(["done", "failed", "cancelled", "dead_lettered"]);

const after = (a, b) => {
  const [x, y] = [a, b].map((id) => id.split("-").map(BigInt));
  return x[0] > y[0] || (x[0] === y[0] && x[1] > y[1]);
};

export class Session {
  constructor({ onEvent, onState }) {
    Object.assign(this, { onEvent, onState, id: null, last: null, backoff: FIRST_BACKOFF });
    this.open = new Map(); // jobs that have not ended → when their last event came
    this.ended = new Set();
  }

  async start() {
    const answer = await fetch("/page/config", { headers: { "x-cloudia": "1" } });
    const config = await answer.json();
    if (!answer.ok) throw new Error(config.error.message);
    Object.assign(this, { url: config.websocket_url, token: config.token });
    this.#connect();
    setInterval(() => this.#check((since) => Date.now() - since > POLL), POLL);
  }

  follow(jobId) {
    if (!this.ended.has(jobId) && !this.open.has(jobId)) this.open.set(jobId, Date.now());
  }

  hasEnded(jobId) {
    return this.ended.has(jobId);
  }

  async post(path, body) {
    return this.#call(path, { method: "POST", body: body && JSON.stringify(body) });
  }

  async #call(path, options = {}) {
    const answer = await fetch(path, { ...options, headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" } });
    const value = await answer.json();
    if (!answer.ok) throw new Error([value.error.message, value.error.hint].filter(Boolean).join(" "));
    return value;
  }

  #connect() {
    const socket = new WebSocket(this.url);
    socket.onopen = () =>
      socket.send(JSON.stringify({ type: "hello", token: this.token, session_id: this.id ?? undefined, last_event_id: this.last ?? undefined }));
    socket.onmessage = (message) => this.#take(JSON.parse(message.data));
    socket.onclose = ({ code }) => {
      if (FINAL_CODES[code]) return this.onState(FINAL_CODES[code]);
      const delay = this.backoff * (0.5 + Math.random() / 2);
      this.backoff = Math.min(this.backoff * 2, LAST_BACKOFF);
      this.onState("reconnecting…");
      setTimeout(() => this.#connect(), delay);
    };
  }

  #take(event) {
    if (event.type === "ready") {
      this.id = event.session_id;
      this.backoff = FIRST_BACKOFF;
      this.onState("connected");
      if (!event.resumed) this.#check(() => true);
      return;
    }
    if (event.id) {
      if (this.last && !after(event.id, this.last)) return;
      this.last = event.id;
    }
    if (event.job_id) this.#deliver(event);
  }

  #deliver(event) {
    if (this.ended.has(event.job_id)) return;
    this.open.set(event.job_id, Date.now());
    if (["done", "cancelled", "error"].includes(event.type)) {
      this.open.delete(event.job_id);
      this.ended.add(event.job_id);
    }
    this.onEvent(event);
  }

  // The record has the last word on a job that is silent, or whose events were lost.
  async #check(wanted) {
    for (const [jobId, since] of [...this.open]) {
      if (!wanted(since)) continue;
      const job = await this.#call(`/jobs/${jobId}`).catch(() => null);
      if (!job || !ENDED.has(job.status) || this.ended.has(jobId)) continue;
      const base = { job_id: jobId, attempt: job.attempts };
      this.#deliver({ ...base, type: "reset" });
      if (job.reply?.content) this.#deliver({ ...base, type: "delta", text: job.reply.content });
      const type = ["done", "cancelled"].includes(job.status) ? job.status : "error";
      this.#deliver({ ...base, type, model: job.model, usage: job.usage, error: job.error });
    }
  }
}
