// The page: brings the conversation, the list, the composer and the client together.

import { Access } from "./access.js";
import { Api } from "./api.js";
import { Client, newKey } from "./client.js";
import { Composer } from "./composer.js";
import { ConnectionState } from "./connection.js";
import { $, announce, composes } from "./dom.js";
import { Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { Thread } from "./thread.js";
import { Turn } from "./turn.js";
import { offerThemes } from "./theming.js";

const FRESH = 12 * 3600_000; // how long an idempotency key is surely known

const store = new Store({ onLoss: () => complain({ message: "This browser keeps nothing for this page: what is not sent is lost when you leave it." }) });
const access = new Access(store, { onSignIn: () => connection.show({ name: "closed", reason: "signed out" }) });
const others = channel(); // this user's other tabs
const renew = () => access.renew();
const api = new Api({ access: () => access.now, renew });
const connection = new ConnectionState({ onRetry: () => (client.stream.state.name === "closed" ? location.reload() : client.stream.now()) });
const client = new Client({ api, access: () => access.now, renew, store, on: { state: connected, answer: answered } });
const sidebar = new Sidebar({ api, onRenamed: renamed, onRemoved: removed, onError: complain });
const thread = new Thread({ log: $("log"), api, client, actions: { again, edit, discard, now: () => api.now() }, onChange: changed, onMissing: missing, onGone: gone, onConversation: (conversation) => sidebar.note(conversation) });
const composer = new Composer({ store, onSend: send, onStop: stop });

const pending = new Set(); // turns without a 202, whichever conversation is shown

// --- what is sent ----------------------------------------------------------------------------------------------------

function send(content) {
  if (thread.gone) fresh();
  const turn = new Turn({ key: newKey(), content, state: "sending" });
  turn.conversationId = thread.id;
  store.keep({ key: turn.key, content, conversationId: thread.id, at: turn.at });
  thread.add(turn);
  deliver(turn);
}

// Hand a turn to the API, after the one before it: that may only now give the conversation its name.
function deliver(turn) {
  const before = thread.turns.findLast((each) => each !== turn && each.state === "sending");
  pending.add(turn);
  Object.assign(turn, { state: "sending", refusal: null });
  thread.update(turn);
  changed();
  turn.delivery = Promise.resolve(before?.delivery).then(() => hand(turn, before));
}

// What is shown becomes the stored message: the key is the same however often it is sent.
async function hand(turn, before) {
  turn.conversationId ??= before?.conversationId ?? null;
  try {
    const accepted = await client.send({ key: turn.key, content: turn.content, conversationId: turn.conversationId ?? undefined, at: turn.at });
    turn.conversationId = accepted.conversation_id;
    pending.delete(turn);
    if (thread.id === null && thread.turns.includes(turn)) {
      thread.id = accepted.conversation_id;
      history.replaceState(null, "", `#${accepted.conversation_id}`);
    }
    thread.accepted(turn, accepted);
    tellOthers(accepted.conversation_id);
    sidebar.load().then(changed);
  } catch (error) {
    refuse(turn, error);
  }
}

function refuse(turn, error) {
  Object.assign(turn, { state: "unsent", refusal: error });
  if (error.code === "no_conversation") {
    if (thread.id === turn.conversationId) gone();
    turn.conversationId = null;
    turn.refusal = { message: "The conversation is gone.", hint: "Try again to begin a new one with it." };
  }
  const { key, content, conversationId, at, refusal } = turn;
  store.keep({ key, content, conversationId, at, refusal: error.passing ? null : { message: refusal.message, hint: refusal.hint } });
  if (turn.conversationId === thread.id && !thread.turns.includes(turn)) thread.add(turn);
  if (thread.turns.includes(turn)) {
    thread.update(turn);
    announce(`Not sent. ${turn.refusal.message}`);
  } else complain({ message: `“${turn.content.slice(0, 40)}” was not sent.`, hint: turn.refusal.message });
  changed();
}

function again(turn) {
  if (turn.state !== "unsent") return send(turn.content);
  if (thread.gone) fresh(); // it comes along
  turn.conversationId ??= thread.id;
  deliver(turn);
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
  if (state.name !== "connected" || !thread.id) return;
  if (thread.empty && !thread.opening) show(thread.id); // it could not be read before
  else if (state.lost) thread.refresh(); // what was missed may be more than answers
}

// Where storage is blocked, some browsers refuse this as well: then each tab is alone.
function channel() {
  try {
    return new BroadcastChannel("cloudia");
  } catch {
    return { postMessage() {} };
  }
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
  $("gone").hidden = !thread.gone;
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
  if (thread.id === id) leave();
}

// What one wanted to see is not there.
function missing(error) {
  if (error.status !== 404) return complain(error);
  sidebar.load();
  for (const turn of pending) if (turn.conversationId === thread.id && turn.state === "unsent") turn.conversationId = null;
  leave();
  complain({ message: "That conversation is gone." });
}

// What one sees is there no more. It stays until one leaves it.
function gone() {
  thread.gone = true;
  sidebar.load().then(changed);
  changed();
}

function complain({ message, hint = "" }) {
  const toast = $("toast");
  toast.textContent = [message, hint].filter(Boolean).join(" ");
  toast.hidden = false;
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => (toast.hidden = true), 6000);
}

addEventListener("beforeunload", (event) => {
  if (!store.keeps && (pending.size || composer.text.value.trim())) event.preventDefault();
});

// --- where one is ----------------------------------------------------------------------------------------------------

const named = () => (/^#cnv_\w+$/.test(location.hash) ? location.hash.slice(1) : null);

async function show(id) {
  const opened = thread.open(id);
  if (id) await opened;
  for (const turn of pending) {
    if (thread.id === id && turn.conversationId === id && (id || turn.state === "unsent") && !thread.turns.includes(turn)) thread.add(turn);
  }
}

// A new conversation. The one before it is a step back.
function fresh() {
  if (named()) history.pushState(null, "", location.pathname + location.search);
  begin();
}

// The same, where there is nothing to come back to.
function leave() {
  history.replaceState(null, "", location.pathname + location.search);
  begin();
}

function begin() {
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
  if (event.defaultPrevented || composes(event) || document.querySelector("dialog[open]")) return;
  const writing = event.target.closest?.("input, textarea");
  if (event.code === "KeyP" && (event.ctrlKey || event.metaKey) && !thread.isWhole) thread.whole().then(() => print());
  else if (event.altKey && !event.ctrlKey && !event.metaKey && ALT[event.code]) ALT[event.code]();
  else if (event.key === "Escape") {
    if (document.body.classList.contains("drawer")) {
      drawer(false);
      $("menu").focus();
    } else if (composer.isEditing) composer.endEdit();
    else stop();
  } else if (event.key === "?" && !writing) $("keys").showModal();
  else if (event.key === "/" && !writing) ALT.KeyK();
  else if (event.key === "ArrowUp" && writing === composer.text && !writing.value) {
    const last = thread.turns.findLast((turn) => turn.content);
    if (!last || last.state === "sending" || composer.isEditing) return;
    edit(last);
  } else return;
  event.preventDefault();
});

$("new").addEventListener("click", fresh);
$("menu").addEventListener("click", () => drawer(!document.body.classList.contains("drawer")));
$("shade").addEventListener("click", () => drawer(false));
$("help").addEventListener("click", () => $("keys").showModal());
for (const example of document.querySelectorAll("#welcome button")) example.addEventListener("click", () => composer.edit(example.textContent));
narrow.addEventListener("change", () => drawer(false));

// --- the beginning ---------------------------------------------------------------------------------------------------

const left = [...store.outbox]; // messages of the page before this one; someone may write another while it begins
offerThemes();
drawer(false);
connection.show({ name: "connecting" });
await access.begin();
if (access.now.limit) {
  composer.limit = access.now.limit;
  $("dashboard").hidden = false; // the local stack opened this page, and gives the dashboard its token too
}
client.start();
await Promise.all([sidebar.load(), show(named())]);
changed();
for (const message of left) resume(message);

// A message that was on its way when the page was left: sent again with its key, it is the same message.
// What was refused, or is too old for its key to be known still, waits for whoever wrote it.
function resume({ key, content, conversationId = null, at, refusal }) {
  const old = Date.now() - at > FRESH;
  const turn = new Turn({ key: old ? newKey() : key, content, state: "sending", at: old ? Date.now() : at });
  turn.conversationId = conversationId;
  if (conversationId === thread.id) thread.add(turn);
  if (!old && !refusal) return deliver(turn);
  store.drop(key);
  pending.add(turn);
  refuse(turn, refusal ?? { message: "It was written long ago.", hint: "" });
}
