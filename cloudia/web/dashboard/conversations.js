// Conversations of one user, to read.

import { $, el } from "../dom.js";
import { back, query, text } from "./messages.js";
import { Rows, age, pill } from "./rows.js";

export class Conversations {
  #pages = 1;
  #told = "";

  constructor(api, { users, known }) {
    Object.assign(this, { api, users, known, user: "" });
    this.rows = new Rows($("conversations-list"), {
      label: "Conversations, the last written to first",
      columns: [{ name: "Title" }, { name: "Last message" }],
      keyOf: ({ conversation_id: id }) => id,
      cells: ({ title, conversation_id: id, updated_at: at }) => [title ?? id, age(at)],
      href: ({ conversation_id: id }) => `#conversations/${encodeURIComponent(this.user)}/${id}`,
      none: "This user has no conversation.",
    });
    $("whose").addEventListener("submit", (event) => {
      event.preventDefault();
      location.hash = `conversations/${encodeURIComponent($("user").value)}`;
    });
    $("conversations-more").addEventListener("click", () => {
      this.#pages += 1;
      this.tick(this.user, this.id).catch(() => {}); // the next tick tells
    });
  }

  async tick(user, id) {
    const wanted = user || this.known() || this.users()[0] || "";
    if (wanted !== this.user) this.#pages = 1;
    Object.assign(this, { user: wanted, id });
    if (document.activeElement !== $("user")) $("user").value = wanted;
    $("users").replaceChildren(...this.users().map((each) => el("option", { value: each })));
    if (!wanted) return this.rows.show([]);
    const found = [];
    let cursor = null, pages = 0;
    do {
      const page = await this.api.call("GET", `/operator/conversations?${query({ user: wanted, limit: 50, cursor })}`);
      found.push(...page.conversations);
      cursor = page.next_cursor;
      pages += 1;
    } while (cursor && pages < this.#pages);
    if (wanted !== this.user) return;
    this.rows.show(found, id);
    $("conversations-more").hidden = !cursor;
    await this.#one(wanted, id);
  }

  async #one(user, id) {
    const place = $("conversation");
    if (!id) {
      this.#told = "";
      place.replaceChildren(el("p", { class: "none" }, "Choose a conversation to read it."));
      return;
    }
    const page = await this.api.call("GET", `/operator/conversations/${id}/messages?${query({ user, limit: 100 })}`).catch((error) => {
      if (error.passing) throw error;
      place.replaceChildren(back(`#conversations/${encodeURIComponent(user)}`), el("p", { class: "none" }, error.message));
    });
    if (!page || this.id !== id || this.#told === JSON.stringify(page)) return;
    this.#told = JSON.stringify(page);
    place.replaceChildren(
      back(`#conversations/${encodeURIComponent(user)}`),
      el("h2", { dir: "auto" }, page.conversation.title ?? id),
      ...page.messages.map((message) => {
        const shown = text(message.role === "user" ? "User" : "Answer", message.content ?? "Text is not shown here.");
        if (message.role === "assistant" && !message.content && message.error) shown.querySelector(".text").textContent = message.error.message;
        shown.classList.add(message.role);
        shown.querySelector("figcaption").append(" ", el("a", { href: `#messages/${message.job_id}` }, "its way"), " ", message.status && message.status !== "done" ? pill(message.status) : "");
        return shown;
      }),
      page.next_cursor ? el("p", { class: "none" }, "These are the first 100 messages.") : "",
    );
  }
}
