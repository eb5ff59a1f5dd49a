// How the page gets to its stack: on loopback the local stack tells it, elsewhere someone signs in. A token is never in a URL.

import { $ } from "./dom.js";

const OWN = location.origin;

export class Access {
  #renewing = null;

  // { apiUrl, url, token, limit }: the HTTP API, the gateway, the bearer token, a message's most bytes.
  constructor(store, { onSignIn }) {
    Object.assign(this, { store, onSignIn, now: null });
  }

  async begin() {
    this.now = this.store.access;
    if (!this.now && !(await this.#ask())) await this.signIn();
  }

  // Get a new token after one was refused: where the stack gives them out, from there; else someone signs in again.
  // Whoever asks meanwhile waits for the same one.
  renew() {
    this.#renewing ??= (async () => {
      const typed = this.store.access !== null;
      this.store.access = null;
      if (typed || !(await this.#ask())) await this.signIn("Your token was refused.");
    })().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  // Show the sign-in, and return once it was filled in.
  async signIn(reason = "") {
    const dialog = $("sign-in"), form = dialog.querySelector("form");
    const known = await read("config.json");
    $("sign-in-api").value = this.now?.apiUrl ?? (known?.api_url || OWN);
    $("sign-in-gateway").value = this.now?.url ?? known?.websocket_url ?? "";
    $("sign-in-reason").textContent = reason;
    $("sign-in-addresses").open = !known?.websocket_url;
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing to go back to
    dialog.showModal();
    this.onSignIn();
    await new Promise((done) => form.addEventListener("submit", done, { once: true }));
    this.now = {
      apiUrl: $("sign-in-api").value.replace(/\/+$/, ""),
      url: $("sign-in-gateway").value,
      token: $("sign-in-token").value.trim(),
    };
    $("sign-in-token").value = "";
    this.store.access = this.now;
  }

  async #ask() {
    const config = await read("page/config");
    if (!config?.token) return false;
    this.now = {
      apiUrl: (config.api_url || OWN).replace(/\/+$/, ""),
      url: config.websocket_url,
      token: config.token,
      limit: config.max_content_bytes,
    };
    return true;
  }
}

async function read(path) {
  try {
    const answer = await fetch(path, { headers: { "x-cloudia": "1" }, cache: "no-store" });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
