// A client of the chat, written from docs/protocol.md alone: Node's own WebSocket and fetch, no package.

const PROTOCOL = 1;
const OPEN = 5000; // how long a connection may take until its `ready`
const FIRST_BACKOFF = 100, LAST_BACKOFF = 3000;
const SILENT_BEATS = 2; // heartbeats that a connection may miss
const SILENT_JOB = 5000; // how long a job may be silent before its record is asked for
const START = "0-0"; // the id before every event's
const BAD_FRAME = 4400, UNAUTHORIZED = 4401, REPLACED = 4409, TOO_LARGE = 1009;
const FINAL = new Set(["done", "failed", "cancelled", "dead_lettered"]);
const TERMINAL = new Set(["done", "error", "cancelled"]);

const sleep = (time) => new Promise((done) => setTimeout(done, time));

export class Client {
  #session = null;
  #last = START;
  #jobs = new Map(); // id → Job
  #socket = null;
  #closed = false;
  #ready = null; // resolved once there is a session
  #refused = null; // rejected once the gateway has refused this client for good

  // `token` returns a bearer token, or a promise of one; it is asked again when one was refused. `onState` is told what happens.
  constructor({ apiUrl, websocketUrl, token, onState = () => {} }) {
    Object.assign(this, { apiUrl, websocketUrl, token, onState });
    this.#ready = new Promise((resolve) => (this.greeted = resolve));
    this.#refused = this.#run().then(() => new Promise(() => {}));
    this.#refused.catch(() => {}); // whoever asks is told
  }

  // Send a message. Return its answer: { status, text, error }. `onEvent` is given each event of it, and the text so far.
  ask(content, { conversationId, onEvent = () => {} } = {}) {
    return Promise.race([this.#ask(content, conversationId, onEvent), this.#refused]);
  }

  async #ask(content, conversationId, onEvent) {
    await this.#ready;
    const body = { content, session_id: this.#session, idempotency_key: crypto.randomUUID() };
    if (conversationId) body.conversation_id = conversationId;
    const { job_id: jobId } = await this.#call("POST", "/messages", body);
    const job = this.#job(jobId);
    job.listen(onEvent);
    const watch = setInterval(() => job.silence > SILENT_JOB && this.#look(jobId), 500);
    try {
      return await job.end;
    } finally {
      clearInterval(watch);
      this.#jobs.delete(jobId);
    }
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
  }

  // An event may come before the 202 that names its job.
  #job(id) {
    if (!this.#jobs.has(id)) this.#jobs.set(id, new Job());
    return this.#jobs.get(id);
  }

  async #run() {
    let backoff = FIRST_BACKOFF, refused = 0;
    while (!this.#closed) {
      const { code, heard } = await this.#connection(await this.token());
      if (this.#closed) return;
      if (heard) [backoff, refused] = [FIRST_BACKOFF, 0];
      if (code === BAD_FRAME && this.error?.code === "no_session" && this.#session) [this.#session, this.#last] = [null, START];
      else if ([BAD_FRAME, REPLACED, TOO_LARGE].includes(code)) throw new Error(this.error?.message ?? "the session has a newer connection");
      else if (code === UNAUTHORIZED && ++refused === 2) throw new Error(this.error?.message ?? "the token was refused");
      this.onState("reconnecting");
      await sleep(backoff * (0.5 + Math.random() / 2));
      backoff = Math.min(backoff * 2, LAST_BACKOFF);
    }
  }

  // Serve one connection. Return why it ended: its close code, if there was one, and whether there was a `ready`.
  #connection(token) {
    return new Promise((ended, failed) => {
      const socket = (this.#socket = new WebSocket(this.websocketUrl));
      let heard = false, deadline = null;
      const end = (code) => {
        clearTimeout(deadline);
        socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
        socket.close(); // nobody waits for the answer to this
        ended({ code, heard });
      };
      const within = (time) => {
        clearTimeout(deadline);
        if (Number.isFinite(time)) deadline = setTimeout(end, time);
      };
      let silence = OPEN;
      within(silence);
      this.error = null;
      socket.onopen = () => socket.send(JSON.stringify(this.#hello(token)));
      socket.onerror = () => {}; // a close follows
      socket.onclose = ({ code }) => end(code);
      socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "ready") {
          if (event.protocol > PROTOCOL) {
            failed(new Error(`the gateway speaks protocol ${event.protocol}, and ${PROTOCOL} is known here`));
            return end();
          }
          silence = SILENT_BEATS * 1000 * (event.heartbeat_seconds ?? Infinity);
          heard = true;
          this.#greet(event);
        } else if (event.type === "error" && !event.job_id) this.error = event.error;
        else if (!this.#take(event)) return end();
        within(silence);
      };
    });
  }

  #hello(token) {
    const hello = { type: "hello", token };
    if (this.#session) hello.session_id = this.#session;
    if (this.#last !== START) hello.last_event_id = this.#last;
    return hello;
  }

  #greet({ session_id: session, resumed }) {
    this.onState(this.#session ? (resumed ? "resumed" : "connected, and events were lost") : "connected");
    this.#session = session;
    this.greeted();
    if (resumed) return;
    for (const [id, job] of this.#jobs) {
      job.lose();
      this.#look(id);
    }
  }

  // Take an event of any type. Return false where one before it was lost on the way.
  #take(event) {
    if (event.id && !isAfter(event.id, this.#last)) return true;
    if (event.after && event.after !== this.#last) return false;
    if (!event.id) return true;
    this.#last = event.id;
    if (event.job_id && !this.#job(event.job_id).take(event)) this.#look(event.job_id);
    return true;
  }

  // Ask for a job's record: it has the last word.
  async #look(id) {
    const job = this.#job(id);
    if (job.asked) return;
    job.asked = true;
    const record = await this.#once("GET", `/jobs/${id}`).catch(() => null);
    job.asked = false;
    job.heard = Date.now();
    if (record && FINAL.has(record.status)) job.settle({ status: record.status, text: record.reply?.content ?? "", error: record.error });
  }

  // Call the HTTP API, again and again while it may help.
  async #call(method, path, body) {
    for (let backoff = 300; ; backoff *= 2) {
      try {
        return await this.#once(method, path, body);
      } catch (error) {
        if (!error.passing || backoff > 5000) throw error;
        await sleep(backoff);
      }
    }
  }

  async #once(method, path, body) {
    const headers = { authorization: `Bearer ${await this.token()}`, "content-type": "application/json" };
    const signal = AbortSignal.timeout(SILENT_JOB);
    let answer, value;
    try {
      answer = await fetch(this.apiUrl + path, { method, headers, signal, body: body && JSON.stringify(body) });
      value = await answer.json();
    } catch {
      throw Object.assign(new Error("the HTTP API cannot be reached"), { passing: true });
    }
    if (answer.ok) return value;
    const { message = `the HTTP API answered ${answer.status}` } = value.error ?? {};
    throw Object.assign(new Error(message), { passing: answer.status === 429 || answer.status >= 500 });
  }
}

// One job's answer as it comes in.
class Job {
  text = "";
  heard = Date.now();
  asked = false;
  #whole = false; // whether its beginning was seen, and nothing was lost since
  #waiting = []; // events that came before anyone listened
  #tell = null;

  constructor() {
    this.end = new Promise((resolve) => (this.resolve = resolve));
  }

  get silence() {
    return Date.now() - this.heard;
  }

  listen(onEvent) {
    this.#tell = onEvent;
    for (const [event, text] of this.#waiting.splice(0)) onEvent(event, text);
  }

  lose() {
    this.#whole = false;
  }

  // Return false where the job has ended and its text is not to be trusted.
  take(event) {
    this.heard = Date.now();
    if (event.type === "started" || event.type === "reset") [this.#whole, this.text] = [true, ""];
    if (event.type === "delta") this.text += event.text;
    if (this.#tell) this.#tell(event, this.text);
    else this.#waiting.push([event, this.text]);
    if (!TERMINAL.has(event.type)) return true;
    if (event.type !== "error" && !this.#whole) return false;
    this.settle({ status: event.status ?? event.type, text: this.text, error: event.error ?? null });
    return true;
  }

  settle(answer) {
    this.text = answer.text;
    this.resolve(answer);
  }
}

// Tell whether an event's id stands after another's: two whole numbers of 64 bits.
function isAfter(id, last) {
  const [a, b] = [id, last].map((each) => each.split("-").map(BigInt));
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}
