// How the page gets to its stack: the local stack tells a page that was opened with its code, elsewhere someone signs in. A token is
// never in a URL.

import { $ } from "./dom.js";

const OWN = location.origin;
const KEY = "cloudia.page"; // in localStorage, which is this origin's alone; cookies are shared by all ports of a host

export class Access {
  #renewing = null;
  #refusal = ""; // why the local stack tells this page nothing

  // { apiUrl, url, token, limit }: the HTTP API, the gateway, the bearer token, a message's most bytes.
  constructor(store, { onSignIn }) {
    Object.assign(this, { store, onSignIn, now: null });
  }

  async begin() {
    if (await trade()) this.store.access = null;
    this.now = this.store.access;
    if (!this.now && !(await this.#ask())) await this.signIn(this.#refusal);
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
    const known = await read("config.json").catch(() => null);
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
    const config = await read("page/config", { headers: { "x-cloudia": key() } }).catch(({ message }) => ((this.#refusal = message), null));
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

// Trade the code of the address that `cloudia up` prints for a cookie and a key. The code leaves the address bar first.
export async function trade() {
  const here = new URL(location.href), code = here.searchParams.get("code");
  if (code === null) return false;
  here.searchParams.delete("code");
  history.replaceState(null, "", here);
  const given = await read("page/session", { method: "POST", headers: { authorization: `Bearer ${code}` } }).catch(() => null);
  if (!given?.key) return false;
  key(given.key);
  return true;
}

let kept = "";

// The key of this page; with one given, keep it.
export function key(given) {
  kept = given ?? kept;
  try {
    if (given) localStorage.setItem(KEY, given);
    return kept || (localStorage.getItem(KEY) ?? "");
  } catch {
    return kept; // Not allowed: the next load needs the code again.
  }
}

// Return a document. What the stack says of a refusal is thrown.
export async function read(path, options) {
  const answer = await fetch(path, { ...options, cache: "no-store" });
  const value = await answer.json();
  if (answer.ok) return value;
  const { message = "", hint = "" } = value.error ?? {};
  throw new Error([message && `${message[0].toUpperCase()}${message.slice(1)}.`, hint].filter(Boolean).join(" "));
}
