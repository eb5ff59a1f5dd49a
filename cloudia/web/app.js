// The page: brings the conversation, the list, the composer and the client together.

import { Access } from "./access.js";
import { Api } from "./api.js";
import { Client } from "./client.js";
import { Composer } from "./composer.js";
import { ConnectionState } from "./connection.js";
import { $, announce } from "./dom.js";
import { Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { Thread } from "./thread.js";
import { Turn } from "./turn.js";

const FRESH = 12 * 3600_000; // how long an idempotency key is surely known
const THEMES = ["auto", "light", "dark"];

const store = new Store();
const access = new Access(store, { onSignIn: () => connection.show({ name: "closed", reason: "signed out" }) });
const others = new BroadcastChannel("cloudia"); // this user's other tabs
const renew = () => access.renew();
const api = new Api({ access: () => access.now, renew });
const connection = new ConnectionState({ onRetry: () => (client.stream.state.name === "closed" ? location.reload() : client.stream.now()) });
const client = new Client({ api, access: () => access.now, renew, store, on: { state: connected, answer: answered } });
const sidebar = new Sidebar({ api, onRenamed: renamed, onRemoved: removed, onError: complain });
const thread = new Thread({ log: $("log"), api, client, actions: { again, edit, discard }, onChange: changed, onMissing: missing });
const composer = new Composer({ store, onSend: (content) => send(content), onStop: stop });

const pending = new Set(); // turns without a 202, whichever conversation is shown

// --- what is sent ----------------------------------------------------------------------------------------------------

async function send(content) {
  const turn = new Turn({ key: crypto.randomUUID(), content, state: "sending" });
  turn.conversationId = thread.id;
  thread.add(turn);
  await deliver(turn);
}

// Hand a turn to the API. What is shown becomes the stored message: the key is the same however often it is sent.
async function deliver(turn) {
  const from = thread.id;
  pending.add(turn);
  Object.assign(turn, { state: "sending", refusal: null });
  thread.update(turn);
  changed();
  try {
    const accepted = await client.send({ key: turn.key, content: turn.content, conversationId: turn.conversationId ?? undefined, at: turn.at });
    turn.conversationId = accepted.conversation_id;
    pending.delete(turn);
    if (thread.id === null && from === null && thread.turns.includes(turn)) {
      thread.id = accepted.conversation_id;
      history.replaceState(null, "", `#${accepted.conversation_id}`);
    }
    thread.accepted(turn, accepted);
    tellOthers(accepted.conversation_id);
    await sidebar.load();
    changed();
  } catch (error) {
    Object.assign(turn, { state: "unsent", refusal: error });
    thread.update(turn);
    announce(`Not sent. ${error.message}`);
    changed();
  }
}

function again(turn) {
  if (turn.state === "unsent") deliver(turn);
  else if (!thread.active) send(turn.content);
}

function edit(turn) {
  if (turn.state === "unsent") discard(turn);
  composer.edit(turn.content);
}

function discard(turn) {
  store.drop(turn.key);
  pending.delete(turn);
  thread.discard(turn);
  composer.text.focus();
}

async function stop() {
  const turn = thread.active;
  if (!turn?.jobId) return;
  await api.cancel(turn.jobId).catch(complain);
}

// --- what comes ------------------------------------------------------------------------------------------------------

function answered(answer, event) {
  thread.answered(answer);
  if (event.type === "delta") return;
  changed();
  if (answer.ended && event.conversation_id) tellOthers(event.conversation_id);
}

function connected(state) {
  connection.show(state);
  if (state.name === "connected" && thread.id && thread.empty && !thread.opening) show(thread.id); // it could not be read before
}

function tellOthers(conversationId) {
  others.postMessage({ user: userOf(access.now), conversationId });
}

others.onmessage = ({ data }) => {
  if (!access.now || data.user !== userOf(access.now)) return;
  sidebar.load().then(changed);
  if (data.conversationId === thread.id) thread.refresh();
};

// What was said meanwhile by another client, such as the command line.
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !access.now) return;
  sidebar.load().then(changed);
  thread.refresh();
});

// Who a token speaks for, and where: so that another user's tabs are left alone.
function userOf({ apiUrl, token }) {
  try {
    return `${apiUrl} ${JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub}`;
  } catch {
    return apiUrl;
  }
}

function changed() {
  const busy = Boolean(thread.active);
  $("log").setAttribute("aria-busy", String(busy));
  composer.busy = busy;
  $("welcome").hidden = Boolean(thread.id) || !thread.empty;
  const title = thread.id ? sidebar.title(thread.id) : null;
  $("title").textContent = title ?? (thread.id ? "" : "New conversation");
  document.title = title ? `${title} – cloudia` : "cloudia";
  sidebar.select(thread.id);
}

function renamed(id) {
  tellOthers(id);
  changed();
}

function removed(id) {
  tellOthers(id);
  if (thread.id === id) fresh();
}

function missing(error) {
  if (error.status !== 404) return complain(error);
  sidebar.load();
  fresh();
  complain({ message: "That conversation is gone." });
}

function complain({ message, hint = "" }) {
  const toast = $("toast");
  toast.textContent = [message, hint].filter(Boolean).join(" ");
  toast.hidden = false;
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => (toast.hidden = true), 6000);
}

// --- where one is ----------------------------------------------------------------------------------------------------

const named = () => (/^#cnv_\w+$/.test(location.hash) ? location.hash.slice(1) : null);

async function show(id) {
  await thread.open(id);
  for (const turn of pending) {
    if (thread.id === id && turn.conversationId === id && (id || turn.state === "unsent") && !thread.turns.includes(turn)) thread.add(turn);
  }
}

function fresh() {
  history.replaceState(null, "", location.pathname + location.search);
  show(null);
  drawer(false);
  composer.text.focus();
}

addEventListener("hashchange", () => {
  show(named());
  drawer(false);
  if (!matchMedia("(pointer: coarse)").matches) composer.text.focus();
});

const narrow = matchMedia("(max-width: 48rem)");

function drawer(open) {
  const shown = open && narrow.matches;
  document.body.classList.toggle("drawer", shown);
  $("sidebar").inert = narrow.matches && !shown;
  $("main").inert = shown;
  $("menu").setAttribute("aria-expanded", String(shown));
  if (shown) $("new").focus();
}

function theme(next) {
  const value = THEMES.includes(next) ? next : "auto";
  document.documentElement.dataset.theme = value;
  $("theme").setAttribute("aria-label", `Theme: ${value}`);
  $("theme").title = `Theme: ${value}`;
  try {
    localStorage.setItem("cloudia.theme", value);
  } catch {} // Not allowed: it is forgotten.
}

const ALT = {
  KeyN: fresh,
  KeyK: () => {
    drawer(true);
    sidebar.search.focus();
  },
  KeyR: () => {
    const turn = thread.turns.at(-1);
    if (turn?.failed) again(turn);
  },
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
};

function step(by) {
  const { ids } = sidebar, at = ids.indexOf(thread.id);
  const next = ids[at < 0 ? 0 : at + by];
  if (next) location.hash = next;
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
  const writing = event.target.closest?.("input, textarea");
  if (event.altKey && !event.ctrlKey && !event.metaKey && ALT[event.code]) ALT[event.code]();
  else if (event.key === "Escape") {
    if (document.body.classList.contains("drawer")) {
      drawer(false);
      $("menu").focus();
    } else if (composer.isEditing) composer.endEdit();
    else stop();
  } else if (event.key === "?" && (!writing || (writing === composer.text && !writing.value))) $("keys").showModal();
  else if (event.key === "/" && !writing) ALT.KeyK();
  else if (event.key === "ArrowUp" && writing === composer.text && !writing.value) {
    const last = thread.turns.findLast((turn) => turn.content);
    if (!last || last.state === "sending") return;
    edit(last);
  } else return;
  event.preventDefault();
});

$("new").addEventListener("click", fresh);
$("menu").addEventListener("click", () => drawer(!document.body.classList.contains("drawer")));
$("shade").addEventListener("click", () => drawer(false));
$("help").addEventListener("click", () => $("keys").showModal());
$("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]));
for (const example of document.querySelectorAll("#welcome button")) example.addEventListener("click", () => composer.fill(example.textContent));
narrow.addEventListener("change", () => drawer(false));

// --- the beginning ---------------------------------------------------------------------------------------------------

theme(document.documentElement.dataset.theme);
drawer(false);
connection.show({ name: "connecting" });
await access.begin();
if (access.now.limit) composer.limit = access.now.limit;
client.start();
await Promise.all([sidebar.load(), show(named())]);
changed();
for (const message of [...store.outbox]) resend(message);

// A message that was on its way when the page was left: sent again with its key, it is the same message.
function resend({ key, content, conversationId, at }) {
  if (Date.now() - at > FRESH) {
    store.drop(key);
    return composer.fill(content);
  }
  if (!conversationId && thread.id) return client.send({ key, content, at }).then(() => sidebar.load(), complain);
  if (conversationId && conversationId !== thread.id) return client.send({ key, content, conversationId, at }).then(() => sidebar.load(), complain);
  const turn = new Turn({ key, content, state: "sending", at });
  turn.conversationId = conversationId ?? null;
  thread.add(turn);
  return deliver(turn);
}
