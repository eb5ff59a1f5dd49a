// What a tab must remember over a reload: its session, how far it has got, what is under way. In sessionStorage, so each tab
// has its own and it ends with the tab.

const NAME = "cloudia.tab";

export class Store {
  #state = { session: null, from: null, open: {}, outbox: [], draft: "", aside: null, access: null };
  #keeps = true;

  // `onLoss` is called when the browser refuses to keep what it is given: where storage is blocked or full.
  constructor({ onLoss }) {
    this.onLoss = onLoss;
    try {
      Object.assign(this.#state, JSON.parse(sessionStorage.getItem(NAME) ?? "{}"));
    } catch {} // Not ours, or not allowed: begin anew.
    this.save();
  }

  get keeps() {
    return this.#keeps;
  }

  // Messages without a 202 yet.
  get outbox() {
    return this.#state.outbox;
  }

  // Jobs that have not ended → when they were sent, and when their first text came.
  get open() {
    return this.#state.open;
  }

  get session() {
    return this.#state.session;
  }

  set session(id) {
    this.#state.session = id;
    this.save();
  }

  // From which event on to be given the events after a reload.
  get from() {
    return this.#state.from;
  }

  get draft() {
    return this.#state.draft;
  }

  set draft(text) {
    this.#state.draft = text;
    this.save();
  }

  // The draft that was laid aside while another text is edited.
  get aside() {
    return this.#state.aside;
  }

  set aside(text) {
    this.#state.aside = text;
    this.save();
  }

  // What was typed into the sign-in: { apiUrl, url, token }.
  get access() {
    return this.#state.access;
  }

  set access(access) {
    this.#state.access = access;
    this.save();
  }

  keep(message) {
    const at = this.outbox.findIndex((each) => each.key === message.key);
    this.outbox.splice(at < 0 ? this.outbox.length : at, 1, message);
    this.save();
  }

  drop(key) {
    const at = this.outbox.findIndex((each) => each.key === key);
    if (at >= 0) this.outbox.splice(at, 1);
    this.save();
  }

  began(jobId, times, from) {
    this.#state.open[jobId] = times;
    this.reached(from);
  }

  ended(jobId, from) {
    delete this.#state.open[jobId];
    this.reached(from);
  }

  reached(from) {
    this.#state.from = from;
    this.save();
  }

  save() {
    const kept = this.#keeps;
    try {
      sessionStorage.setItem(NAME, JSON.stringify(this.#state));
      this.#keeps = true;
    } catch {
      this.#keeps = false; // Full or not allowed: the page works on, only a reload is poorer.
    }
    if (kept && !this.#keeps) this.onLoss();
  }
}
