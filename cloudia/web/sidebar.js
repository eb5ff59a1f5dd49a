// The list of conversations: search in titles and in what was said, rename in place, delete after asking.

import { $, announce, button, composes, el } from "./dom.js";

const PAUSE = 250; // in typing, after which the stack is asked
const DAY = 86_400_000;

export class Sidebar {
  #listed = []; // conversations, the one last written to first
  #cursor = null;
  #noted = null; // the one that is shown, which may be older than those that are listed
  #current = null;
  #renaming = null;
  #loaded = false;
  #search = null; // { found, cursor, stop, answer }: what the stack was asked to find
  #pause = null;

  constructor({ api, onRenamed, onRemoved, onError }) {
    Object.assign(this, { api, onRenamed, onRemoved, onError });
    this.list = $("conversations");
    this.search = $("search");
    this.search.addEventListener("input", () => this.#typed());
    this.search.addEventListener("keydown", (event) => {
      if (composes(event)) return;
      if (event.key === "ArrowDown") this.list.querySelector("a")?.focus();
      else if (event.key === "Enter") this.#open();
      else if (event.key === "Escape" && this.search.value) {
        this.search.value = "";
        this.#typed();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.list.addEventListener("keydown", (event) => this.#key(event));
    $("more").addEventListener("click", () => this.#more());
  }

  get ids() {
    return this.#shown().map((each) => each.conversation_id);
  }

  title(id) {
    return this.#find(id)?.title ?? null;
  }

  // Take note of the conversation that is shown.
  note(conversation) {
    this.#noted = conversation;
    this.#draw();
  }

  select(id) {
    this.#current = id;
    for (const link of this.list.querySelectorAll("a")) {
      if (link.hash === `#${id}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  // Read the newest page of the list anew.
  async load() {
    try {
      const page = await this.api.conversations();
      const fresh = new Set(page.conversations.map((each) => each.conversation_id));
      const oldest = page.conversations.at(-1)?.updated_at ?? "";
      const older = page.next_cursor ? this.#listed.filter((each) => !fresh.has(each.conversation_id) && each.updated_at < oldest) : [];
      if (older.length === 0) this.#cursor = page.next_cursor;
      this.#listed = [...page.conversations, ...older];
      this.#loaded = true;
      this.#draw();
    } catch (error) {
      if (!this.#loaded) this.list.replaceChildren(el("p", { class: "empty" }, error.message));
    }
  }

  forget(id) {
    const others = (each) => each.conversation_id !== id;
    this.#listed = this.#listed.filter(others);
    if (this.#search) this.#search.found = this.#search.found.filter(others);
    if (this.#noted?.conversation_id === id) this.#noted = null;
    this.#draw();
  }

  startRename(id = this.#current) {
    if (!id || !this.title(id)) return;
    this.#renaming = id;
    this.#draw();
    const input = this.list.querySelector("input");
    input?.focus();
    input?.select();
  }

  async ask(id = this.#current) {
    const title = this.title(id);
    if (!title) return;
    const dialog = $("ask");
    $("ask-title").textContent = title;
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
    if (dialog.returnValue !== "delete") return;
    try {
      await this.api.remove(id);
      this.forget(id);
      announce("The conversation was deleted.");
      this.onRemoved(id);
    } catch (error) {
      this.onError(error);
    }
  }

  async #more() {
    if (this.#words) return this.#ask(this.#search?.cursor);
    const page = await this.api.conversations({ cursor: this.#cursor }).catch((error) => this.onError(error));
    if (!page) return;
    const known = new Set(this.#listed.map((each) => each.conversation_id));
    this.#listed.push(...page.conversations.filter((each) => !known.has(each.conversation_id)));
    this.#cursor = page.next_cursor;
    this.#draw();
  }

  get #words() {
    return this.search.value.trim();
  }

  // Titles that are here are searched at once; the stack is asked when nobody types, and what was asked before is dropped.
  #typed() {
    clearTimeout(this.#pause);
    this.#search?.stop.abort();
    this.#search = null;
    if (this.#words) this.#pause = setTimeout(() => this.#ask(), PAUSE);
    this.#draw();
  }

  #ask(cursor) {
    clearTimeout(this.#pause);
    const search = { found: this.#search?.found ?? [], cursor: null, stop: new AbortController() };
    this.#search = search;
    search.answer = this.api
      .conversations({ search: this.#words, cursor, signal: search.stop.signal })
      .then((page) => {
        search.found.push(...page.conversations);
        search.cursor = page.next_cursor;
      })
      .catch((error) => search.stop.signal.aborted || this.onError(error))
      .finally(() => {
        search.answer = null;
        if (search === this.#search) this.#draw();
      });
    this.#draw();
    return search.answer;
  }

  // Open the first that was found; where nothing was yet, once the stack has answered.
  async #open() {
    const words = this.#words;
    if (!words) return;
    if (this.#shown().length === 0) await (this.#search?.answer ?? this.#ask());
    const [first] = this.#shown();
    if (first && words === this.#words) location.hash = first.conversation_id;
  }

  #find(id) {
    return this.#known().find((each) => each.conversation_id === id);
  }

  // What is known, the one last written to first; what the stack found comes before the same that is listed, for it shows where.
  #known() {
    const known = new Map();
    for (const each of [...(this.#search?.found ?? []), ...this.#listed, ...(this.#noted ? [this.#noted] : [])]) {
      if (!known.has(each.conversation_id)) known.set(each.conversation_id, each);
    }
    return [...known.values()].sort((a, b) => (a.updated_at < b.updated_at ? 1 : a.updated_at > b.updated_at ? -1 : 0));
  }

  #shown() {
    const words = this.#words.toLowerCase().split(/\s+/).filter(Boolean), found = this.#search?.found ?? [];
    return this.#known().filter((each) => found.includes(each) || words.every((word) => each.title.toLowerCase().includes(word)));
  }

  #nothing() {
    if (!this.#words) return "What you ask about will be listed here.";
    return this.#search?.answer === null ? "Nothing has these words." : "Searching…";
  }

  #draw() {
    if (this.#renaming && this.list.querySelector("input")) return; // Nobody's typing is taken away.
    const focused = this.list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    const shown = this.#shown(), parts = [];
    let day = null, group;
    for (const each of shown) {
      const its = dayOf(each.updated_at, this.api.now());
      if (its !== day) {
        day = its;
        group = el("ul", { "aria-label": day });
        parts.push(el("h3", { "aria-hidden": true }, day), group);
      }
      group.append(this.#item(each));
    }
    if (shown.length === 0) parts.push(el("p", { class: "empty" }, this.#nothing()));
    this.list.replaceChildren(...parts);
    $("more").hidden = !(this.#words ? this.#search?.cursor : this.#cursor);
    $("more").textContent = this.#words ? "Search further back" : "Show more";
    this.select(this.#current);
    if (focused) this.list.querySelector(`li[data-id="${focused}"] a`)?.focus();
  }

  #item({ conversation_id: id, title, snippet }) {
    if (this.#renaming === id) return el("li", { "data-id": id }, this.#renameForm(id, title));
    return el(
      "li",
      { "data-id": id },
      el("a", { href: `#${id}`, title, dir: "auto", "aria-keyshortcuts": "F2 Delete" }, title, snippet && el("small", { dir: "auto" }, snippet)),
      button("Rename", "edit", () => this.startRename(id), { class: "quiet only", "aria-label": `Rename “${title}”`, title: "Rename (F2)", tabindex: -1 }),
      button("Delete", "delete", () => this.ask(id), { class: "quiet only", "aria-label": `Delete “${title}”`, title: "Delete (Del)", tabindex: -1 }),
    );
  }

  #renameForm(id, title) {
    const input = el("input", { value: title, maxlength: 200, dir: "auto", "aria-label": "New title", autocomplete: "off" });
    const end = async (keep) => {
      if (this.#renaming !== id) return;
      this.#renaming = null;
      const wanted = input.value.trim().replace(/\s+/g, " ");
      const item = this.#find(id);
      if (keep && wanted && wanted !== title && item) {
        item.title = wanted;
        this.#draw();
        try {
          await this.api.rename(id, wanted);
          this.onRenamed(id, wanted);
        } catch (error) {
          item.title = title;
          this.onError(error);
        }
      }
      this.#draw();
      this.list.querySelector(`li[data-id="${id}"] a`)?.focus();
    };
    input.addEventListener("blur", () => end(true));
    input.addEventListener("keydown", (event) => {
      if (composes(event) || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    });
    return input;
  }

  #key(event) {
    const link = event.target.closest("a");
    if (!link) return;
    const id = link.closest("li").dataset.id, links = [...this.list.querySelectorAll("a")], at = links.indexOf(link);
    const to = { ArrowDown: links[at + 1], ArrowUp: links[at - 1] ?? this.search, Home: links[0], End: links.at(-1) }[event.key];
    if (to) to.focus();
    else if (event.key === "F2") this.startRename(id);
    else if (event.key === "Delete") this.ask(id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function dayOf(time, now) {
  const midnight = new Date(now).setHours(0, 0, 0, 0), at = Date.parse(time);
  if (at >= midnight) return "Today";
  if (at >= midnight - DAY) return "Yesterday";
  return at >= midnight - 6 * DAY ? "This week" : "Earlier";
}
