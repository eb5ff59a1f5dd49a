// What is shown of the connection: the truth, with a countdown where something is waited for.

import { $ } from "./dom.js";

const SHOWN = 4000; // how long "resumed" stays

export class ConnectionState {
  #timer = null;

  constructor({ onRetry }) {
    Object.assign(this, { root: $("state"), words: $("state-words"), count: $("state-count"), retry: $("state-retry") });
    this.retry.addEventListener("click", onRetry);
  }

  show(state) {
    clearTimeout(this.#timer);
    this.root.dataset.state = state.name;
    this.root.title = state.reason ?? "";
    this.count.textContent = "";
    this.retry.hidden = state.name !== "closed" && state.name !== "reconnecting";
    this.retry.textContent = state.name === "closed" ? "Reload" : "Now";
    switch (state.name) {
      case "connecting":
        return this.#say("connecting");
      case "connected":
        this.#say(state.resumed ? "resumed" : "connected");
        if (state.resumed) this.#timer = setTimeout(() => this.#say("connected"), SHOWN);
        return;
      case "reconnecting":
        this.#say(navigator.onLine ? "reconnecting" : "offline");
        return this.#countDown(performance.now() + state.retryAt - Date.now());
      case "closed":
        this.#say(state.reason);
    }
  }

  // A screen reader hears the word once; the countdown beside it is for the eye.
  #say(words) {
    if (this.words.textContent !== words) this.words.textContent = words;
  }

  #countDown(until) {
    const left = Math.ceil((until - performance.now()) / 1000);
    this.count.textContent = left > 0 ? ` in ${left} s` : "…";
    if (left > 0) this.#timer = setTimeout(() => this.#countDown(until), 200);
  }
}
