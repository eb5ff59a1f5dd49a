// The list of conversations: search by title, rename in place, delete after asking.

import { $, announce, button, el } from "./dom.js";

const MOST_PAGES = 20; // of 100, for a search
const DAY = 86_400_000;

export class Sidebar {
  #found = []; // conversations, the one last written to first
  #cursor = null;
  #current = null;
  #renaming = null;
  #loaded = false;

  constructor({ api, onRenamed, onRemoved, onError }) {
    Object.assign(this, { api, onRenamed, onRemoved, onError });
    this.list = $("conversations");
    this.search = $("search");
    this.search.addEventListener("input", () => this.#search());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.list.querySelector("a")?.focus();
      else if (event.key === "Escape" && this.search.value) {
        this.search.value = "";
        this.#draw();
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
    return this.#found.find((each) => each.conversation_id === id)?.title ?? null;
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
      const older = page.next_cursor ? this.#found.filter((each) => !fresh.has(each.conversation_id) && each.updated_at < oldest) : [];
      if (older.length === 0) this.#cursor = page.next_cursor;
      this.#found = [...page.conversations, ...older];
      this.#loaded = true;
      this.#draw();
    } catch (error) {
      if (!this.#loaded) this.list.replaceChildren(el("p", { class: "empty" }, error.message));
    }
  }

  forget(id) {
    this.#found = this.#found.filter((each) => each.conversation_id !== id);
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
    if (!this.#cursor) return;
    const page = await this.api.conversations(this.#cursor).catch((error) => this.onError(error));
    if (!page) return;
    const known = new Set(this.#found.map((each) => each.conversation_id));
    this.#found.push(...page.conversations.filter((each) => !known.has(each.conversation_id)));
    this.#cursor = page.next_cursor;
    this.#draw();
  }

  async #search() {
    this.#draw();
    for (let page = 0; this.search.value && this.#cursor && page < MOST_PAGES; page++) {
      const before = this.#cursor;
      await this.#more();
      if (this.#cursor === before) return;
    }
  }

  #shown() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    return this.#found.filter((each) => words.every((word) => each.title.toLowerCase().includes(word)));
  }

  #draw() {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    const shown = this.#shown(), parts = [];
    let day = null, group;
    for (const each of shown) {
      if (dayOf(each.updated_at) !== day) {
        day = dayOf(each.updated_at);
        group = el("ul", { "aria-label": day });
        parts.push(el("h3", { "aria-hidden": true }, day), group);
      }
      group.append(this.#item(each));
    }
    if (shown.length === 0) parts.push(el("p", { class: "empty" }, this.search.value ? "No title has these words." : "What you ask about will be listed here."));
    this.list.replaceChildren(...parts);
    $("more").hidden = !this.#cursor;
    this.select(this.#current);
    if (focused) this.list.querySelector(`li[data-id="${focused}"] a`)?.focus();
  }

  #item({ conversation_id: id, title }) {
    if (this.#renaming === id) return el("li", { "data-id": id }, this.#renameForm(id, title));
    return el(
      "li",
      { "data-id": id },
      el("a", { href: `#${id}`, title, "aria-keyshortcuts": "F2 Delete" }, title),
      button("Rename", "edit", () => this.startRename(id), { class: "quiet only", "aria-label": `Rename “${title}”`, title: "Rename (F2)", tabindex: -1 }),
      button("Delete", "delete", () => this.ask(id), { class: "quiet only", "aria-label": `Delete “${title}”`, title: "Delete (Del)", tabindex: -1 }),
    );
  }

  #renameForm(id, title) {
    const input = el("input", { value: title, maxlength: 200, "aria-label": "New title", autocomplete: "off" });
    const end = async (keep) => {
      if (this.#renaming !== id) return;
      this.#renaming = null;
      const wanted = input.value.trim().replace(/\s+/g, " ");
      const item = this.#found.find((each) => each.conversation_id === id);
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
      if (event.key !== "Enter" && event.key !== "Escape") return;
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

function dayOf(time) {
  const midnight = new Date().setHours(0, 0, 0, 0), at = Date.parse(time);
  if (at >= midnight) return "Today";
  if (at >= midnight - DAY) return "Yesterday";
  return at >= midnight - 6 * DAY ? "This week" : "Earlier";
}
