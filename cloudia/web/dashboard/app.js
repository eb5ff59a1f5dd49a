// The dashboard: which view is shown, and when it looks again.

import { Api } from "../api.js";
import { $ } from "../dom.js";
import { offerThemes } from "../theming.js";
import { Access } from "./access.js";
import { Conversations } from "./conversations.js";
import { Letters } from "./letters.js";
import { Live } from "./live.js";
import { Messages } from "./messages.js";
import { clock } from "./rows.js";

const EVERY = 2000, LONGEST = 10_000;
const VIEWS = ["live", "messages", "letters", "conversations"];

const access = new Access();
const api = new Api({ access: () => access.now, renew: () => access.renew() });
clock(() => api.now());
const live = new Live(api, access);
const messages = new Messages(api);
const letters = new Letters(api, { changed: () => (messages.stale(), look()) });
const conversations = new Conversations(api, { users: () => messages.users, known: () => access.now?.user });
const ticks = {
  live: () => {},
  messages: (id) => messages.tick(id),
  letters: (id) => letters.tick(id, live.deadLetters),
  conversations: (user, id) => conversations.tick(user, id),
};

// The view of the address, and what is chosen in it.
function place() {
  const [view, ...rest] = location.hash.slice(1).split("/");
  return VIEWS.includes(view) ? { view, rest: rest.map(decoded) } : { view: "live", rest: [] };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

let shown = null;

function show() {
  const { view, rest } = place();
  for (const each of VIEWS) $(`view-${each}`).hidden = each !== view;
  for (const link of document.querySelectorAll("#top nav a")) {
    if (link.hash === `#${view}`) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    else link.removeAttribute("aria-current");
  }
  const chosen = view === "conversations" ? rest[1] : rest[0];
  document.body.dataset.chosen = String(Boolean(chosen));
  const names = { live: "Overview", messages: "Messages", letters: "Dead letters", conversations: "Conversations" };
  document.title = `${names[view]} · cloudia dashboard`;
  if (shown && chosen && shown !== location.hash) $({ messages: "message", letters: "letter", conversations: "conversation" }[view])?.focus({ preventScroll: true });
  if (shown !== location.hash) scrollTo(0, 0);
  shown = location.hash || "#live";
  look();
}

// --- looking again and again -----------------------------------------------------------------------------------------

let timer = null, looking = null, pause = EVERY, again = false;

// Look now. While a look is under way another one follows it.
function look() {
  if (!access.now) return;
  if (looking) return void (again = true);
  clearTimeout(timer);
  looking = once().finally(() => {
    looking = null;
    const soon = again;
    again = false;
    if (soon) look();
    else if (!document.hidden) timer = setTimeout(look, pause);
  });
}

async function once() {
  const { view, rest } = place();
  try {
    await live.tick(view === "live");
    await ticks[view](...rest);
    pause = EVERY;
    tell("live", "live");
    $("away").hidden = true;
  } catch (error) {
    if (error.status === 403) return await access.refused(`${error.message} ${error.hint}`);
    pause = Math.min(pause * 1.5, LONGEST);
    tell("closed", "away");
    $("away").textContent = `${error.message} What you see is from before; it is asked again by itself.`;
    $("away").hidden = false;
  }
}

function tell(state, words) {
  $("state").dataset.state = state === "live" ? "connected" : state;
  if ($("state-words").textContent !== words) $("state-words").textContent = words;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    tell("connecting", "paused");
  } else look();
});
addEventListener("online", look);
addEventListener("hashchange", show);

$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says which view is shown
  $("content").focus();
});

offerThemes();
show();
await access.begin();
look();
