// Dead letters: a list, and one of them to look at, edit, redrive or purge. What cannot be undone is asked for first.

import { $, announce, el } from "../dom.js";
import { attempts, back, block, copier, text } from "./messages.js";
import { Rows, age, facts, number } from "./rows.js";

const MOST = 100;
const LEFT = ["redriven", "already_redriven", "already_ended", "gone"]; // what has left the dead letters

export class Letters {
  #drawn = "";
  #found = [];
  #counted = null;
  #lookedAt = 0; // Looking takes the letters off the queue for a moment where the service has no other way.

  // `changed` is called when a letter has gone.
  constructor(api, { changed }) {
    Object.assign(this, { api, changed });
    this.rows = new Rows($("letters"), {
      label: "Dead letters, newest first",
      columns: [{ name: "Died" }, { name: "Error" }, { name: "Attempts", number: true }, { name: "User" }, { name: "Why" }],
      keyOf: ({ id }) => id,
      cells: (letter) => [age(letter.failed_at), letter.error_type, number(letter.attempts), letter.user_id ?? "", letter.error_message],
      href: ({ id }) => `#letters/${encodeURIComponent(id)}`,
      none: "There are no dead letters.",
    });
    $("redrive-all").addEventListener("click", () => this.#redriveAll());
    $("purge-all").addEventListener("click", () => this.#purge(this.#found.map(({ id }) => id)));
  }

  // `counted` is how many there are, as the queue says: while it is the same, the list is asked for every 30 s.
  async tick(id, counted) {
    this.id = id;
    if (counted !== this.#counted || Date.now() - this.#lookedAt > 30_000) await this.#list(id, counted);
    else this.rows.show(this.#found, id);
    await this.#one(id);
  }

  async #list(id, counted) {
    const { letters } = await this.api.call("GET", `/operator/dead-letters?limit=${MOST}`);
    // Their age grows; what is compared does not.
    this.#found = letters.map(({ age_seconds: _, visible: __, ...letter }) => letter);
    this.rows.show(this.#found, id);
    $("redrive-all").hidden = $("purge-all").hidden = letters.length === 0;
    this.#counted = counted;
    this.#lookedAt = Date.now();
  }

  async #one(id) {
    const place = $("letter");
    if (id && id === this.#drawn) return; // Someone may be editing it.
    if (!id) {
      this.#drawn = "";
      place.replaceChildren(el("p", { class: "none" }, "Choose a letter to see why it died."));
      return;
    }
    const letter = await this.api.call("GET", `/operator/dead-letters/${encodeURIComponent(id)}`).catch((error) => {
      if (error.passing) throw error;
      place.replaceChildren(back("#letters"), el("p", { class: "none" }, `${error.message} ${error.hint}`));
    });
    if (!letter || this.id !== id) return;
    this.#drawn = id;
    place.replaceChildren(...this.#detail(letter));
  }

  #detail(letter) {
    const content = el("textarea", { id: "letter-content", rows: "6", dir: "auto", spellcheck: "false" });
    const model = el("input", { id: "letter-model", autocomplete: "off", spellcheck: "false", maxlength: "128", placeholder: "the configured one" });
    content.value = letter.content ?? "";
    model.value = letter.model ?? "";
    if (!letter.content_shown) content.placeholder = "Text is not shown here. Left empty, it stays as it is.";
    const redrive = el("button", { type: "submit", class: "primary" }, "Redrive");
    const edit = el(
      "form",
      { class: "edit", onsubmit: (event) => (event.preventDefault(), this.#redrive([letter.id], changes(letter, content.value, model.value), redrive)) },
      el("label", { for: "letter-content" }, "Message"),
      content,
      el("label", { for: "letter-model" }, "Model"),
      model,
      el("div", { class: "row" }, redrive, el("button", { type: "button", class: "bad", onclick: () => this.#purge([letter.id]) }, "Purge")),
    );
    return [
      back("#letters"),
      el("div", { class: "bar" }, el("h2", {}, el("span", { class: "pill", "data-status": "dead_lettered" }, letter.error_type), " ", el("code", {}, letter.id)), copier("Copy the id", letter.id)),
      el("p", { class: "why", "data-status": "dead_lettered" }, letter.error_message),
      facts(
        ["died", new Date(letter.failed_at).toLocaleString()],
        ["attempts", letter.attempts],
        ["buried by", letter.buried_by === "sqs" ? "SQS, received too often" : "its worker"],
        ["user", letter.user_id],
        ["message", letter.job_id ? el("a", { href: `#messages/${letter.job_id}` }, "where its time went") : null],
      ),
      letter.redrivable
        ? block("Edit and redrive", edit)
        : block("What it is", letter.body == null ? null : text("Body", letter.body), el("div", { class: "row" }, el("button", { type: "button", class: "bad", onclick: () => this.#purge([letter.id]) }, "Purge"))),
      block("Attempts", attempts(letter.attempt_history)),
    ];
  }

  async #redrive(ids, edit, pressed) {
    if (pressed) pressed.disabled = true;
    try {
      const { letters } = await this.api.call("POST", "/operator/dead-letters/redrive", { ids, ...edit });
      const stay = letters.filter(({ outcome }) => !LEFT.includes(outcome)), gone = letters.length - stay.length;
      const why = [...new Set(stay.map(({ outcome }) => outcome.replaceAll("_", " ")))].join(", ");
      this.#told(stay.length ? `${count(gone)} redriven, ${number(stay.length)} not: ${why}.` : `${count(gone)} redriven.`, stay.length > 0);
      if (gone && ids.length === 1) location.hash = `messages/${ids[0]}`;
    } catch (error) {
      this.#told(`${error.message} ${error.hint ?? ""}`, true);
    } finally {
      if (pressed) pressed.disabled = false;
    }
    this.#again();
  }

  async #redriveAll() {
    const ids = this.#found.filter(({ redrivable }) => redrivable).map(({ id }) => id);
    if (ids.length && (await ask(`Redrive ${count(ids.length)}?`, "Each is answered in its place, with new attempts. What failed for the same reason fails again.", "Redrive"))) await this.#redrive(ids, {});
  }

  async #purge(ids) {
    if (!(await ask(`Purge ${count(ids.length)} for good?`, "The messages are deleted from the queue of dead letters and cannot be redriven any more. Their records and conversations stay.", "Purge", true))) return;
    try {
      const { deleted, left } = await this.api.call("POST", "/operator/dead-letters/purge", { ids });
      this.#told(`${count(deleted)} purged${left ? `, ${left} could not be had now` : ""}.`);
      if (deleted && ids.includes(this.id)) location.hash = "letters";
    } catch (error) {
      this.#told(`${error.message} ${error.hint ?? ""}`, true);
    }
    this.#again();
  }

  #told(words, bad = false) {
    announce(words);
    let line = $("letters-said");
    if (!line) $("letters").before((line = el("p", { id: "letters-said", class: "said-line" })));
    line.textContent = words;
    line.dataset.bad = String(bad);
  }

  #again() {
    this.#drawn = "";
    this.#lookedAt = 0;
    this.changed();
  }
}

function changes(letter, content, model) {
  const edit = {};
  if (content !== (letter.content ?? "")) edit.content = content;
  if (model.trim() !== (letter.model ?? "") && model.trim()) edit.model = model.trim();
  return edit;
}

const count = (letters) => (letters === 1 ? "1 letter" : `${letters} letters`);

// Ask in a dialog. Resolves to whether it is wanted.
function ask(heading, words, yes, danger = false) {
  const dialog = $("ask");
  $("ask-heading").textContent = heading;
  $("ask-words").textContent = words;
  $("ask-yes").textContent = yes;
  $("ask-yes").className = danger ? "danger" : "primary";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}
