// The event stream: a session's events over any number of connections, each event once and in order.

import { isAfter } from "./events.js";

const PROTOCOL = 1;
const START = "0-0"; // the id before every event's
const OPEN = 5000, FIRST_BACKOFF = 200, LAST_BACKOFF = 3000; // so what swallowed everything is found to be back within 8 s
const CHECK = 1000, SILENT_BEATS = 2; // heartbeats that a connection may miss before it counts as dead
const BAD_FRAME = 4400, UNAUTHORIZED = 4401, REPLACED = 4409;

export class EventStream {
  #socket = null;
  #timer = null;
  #backoff = FIRST_BACKOFF;
  #had = false; // whether there was a connection before
  #heard = 0; // when the last frame came: epoch milliseconds, so that sleep counts
  #silence = Infinity; // how long this connection may bring nothing, not even a heartbeat

  // `hello` returns { url, token, sessionId, lastEventId }. `onState` is given
  // { name: connecting | connected | reconnecting | closed, resumed?, retryAt?, reason? }.
  constructor({ hello, onReady, onEvent, onState, onUnauthorized, onReplaced }) {
    Object.assign(this, { hello, onReady, onEvent, onState, onUnauthorized, onReplaced });
    this.last = null;
    this.state = { name: "connecting" };
    addEventListener("online", () => this.now());
    addEventListener("offline", () => this.#socket?.readyState === WebSocket.OPEN && this.#lost(this.#socket));
    addEventListener("pageshow", () => this.now());
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
    setInterval(() => this.#check(), CHECK);
  }

  connect() {
    clearTimeout(this.#timer);
    const { url, token, sessionId, lastEventId } = this.hello();
    this.last = lastEventId ?? this.last;
    if (!this.#had) this.#say({ name: "connecting" });
    let socket;
    try {
      socket = new WebSocket(url);
    } catch {
      return this.#say({ name: "closed", reason: "That is not the address of a gateway." });
    }
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#lost(socket), OPEN);
    const hello = { type: "hello", token };
    if (sessionId) hello.session_id = sessionId;
    if (this.last) hello.last_event_id = this.last;
    socket.onopen = () => socket.send(JSON.stringify(hello));
    socket.onmessage = (frame) => socket === this.#socket && this.#take(JSON.parse(frame.data));
    socket.onclose = ({ code }) => socket === this.#socket && this.#lost(socket, code);
  }

  // Look at once whether the connection lives, and try at once what would be tried later.
  now() {
    this.#check();
    if (this.state.name === "reconnecting" && this.#socket === null) this.connect();
  }

  close(reason) {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#say({ name: "closed", reason });
  }

  #say(state) {
    this.state = state;
    this.onState(state);
  }

  // What sleeps, or lost its network, is not told that its connection died; nor does who swallows its bytes tell.
  #check() {
    const silent = Date.now() - this.#heard;
    if (silent < 0) this.#heard = Date.now(); // the clock was set
    else if (this.state.name === "connected" && silent > this.#silence) this.#lost(this.#socket);
  }

  #take(event) {
    this.#heard = Date.now();
    if (event.type === "ready") {
      if (event.protocol > PROTOCOL) return this.close("The gateway is of a later version: reload the page.");
      clearTimeout(this.#timer);
      this.#silence = SILENT_BEATS * 1000 * (event.heartbeat_seconds ?? Infinity);
      this.#backoff = FIRST_BACKOFF;
      const again = this.#had;
      this.#had = true;
      this.onReady(event);
      this.#say({ name: "connected", resumed: again && event.resumed, lost: again && !event.resumed });
      return;
    }
    if (event.id && !isAfter(event.id, this.last)) return;
    if (event.after && event.after !== (this.last ?? START)) return this.#lost(this.#socket); // what was lost comes again
    if (event.id) {
      this.onEvent(event);
      this.last = event.id;
    }
  }

  #lost(socket, code) {
    clearTimeout(this.#timer);
    this.#socket = null;
    socket.close();
    if (code === UNAUTHORIZED) {
      // Also of a connection that was open: its token has expired.
      if (this.state.name === "connected") this.#say({ name: "connecting" });
      return this.onUnauthorized();
    }
    if (code === REPLACED || code === BAD_FRAME) {
      if (this.onReplaced(code)) return this.connect();
      return this.#say({ name: "closed", reason: "The gateway refused this page." });
    }
    const delay = this.#backoff * (0.5 + Math.random() / 2);
    this.#backoff = Math.min(this.#backoff * 2, LAST_BACKOFF);
    this.#had = true;
    this.#say({ name: "reconnecting", retryAt: Date.now() + delay });
    this.#timer = setTimeout(() => this.connect(), delay);
  }
}
