// How the dashboard gets an operator's token: the local stack gives one to a page that was opened with its code, elsewhere someone
// signs in. A token is never in a URL.

import { key, read, trade } from "../access.js";
import { $ } from "../dom.js";

const KEPT = "cloudia.operator"; // in sessionStorage: this tab's

export class Access {
  #renewing = null;
  now = null; // { apiUrl, token, user }

  async begin() {
    const opened = await trade();
    this.now = opened ? null : kept();
    if (!this.now && !(await this.#ask())) await this.#signIn();
  }

  // Get another token after one was refused. Whoever asks meanwhile waits for the same one.
  renew() {
    this.#renewing ??= (async () => {
      const typed = kept() !== null;
      keep(null);
      if (typed || !(await this.#ask())) await this.#signIn("Your token was refused.");
    })().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  // Another token is needed: this one is a user's.
  refused(reason) {
    this.#renewing ??= (keep(null), this.#signIn(reason).finally(() => (this.#renewing = null)));
    return this.#renewing;
  }

  async parts() {
    return (await read("page/parts", { headers: { "x-cloudia": key() } }).catch(() => null))?.parts ?? [];
  }

  async #ask() {
    const told = await read("page/operator", { headers: { "x-cloudia": key() } }).catch(() => null);
    if (!told?.token) return false;
    this.now = { apiUrl: location.origin, token: told.token, user: told.user };
    return true;
  }

  async #signIn(reason = "") {
    const dialog = $("sign-in"), form = dialog.querySelector("form");
    const known = await read("config.json").catch(() => null);
    $("sign-in-api").value = this.now?.apiUrl ?? (known?.api_url || location.origin);
    $("sign-in-reason").textContent = reason;
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing to go back to
    dialog.showModal();
    await new Promise((done) => form.addEventListener("submit", done, { once: true }));
    this.now = { apiUrl: $("sign-in-api").value.replace(/\/+$/, ""), token: $("sign-in-token").value.trim(), user: "" };
    $("sign-in-token").value = "";
    keep(this.now);
  }
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    return null;
  }
}

function keep(value) {
  try {
    if (value) sessionStorage.setItem(KEPT, JSON.stringify(value));
    else sessionStorage.removeItem(KEPT);
  } catch {} // Not allowed: the next load asks again.
}
