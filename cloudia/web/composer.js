// Where a message is written: grows with its text, counts its bytes, remembers the draft.

import { $, composes } from "./dom.js";

const HIGHEST = 240; // pixels
const NEAR = 0.8; // of the limit, from where it is shown
const TOUCH = matchMedia("(hover: none) and (pointer: coarse)"); // no Shift at hand: Enter is a new line, the button sends

export class Composer {
  #limit = Infinity;
  #busy = false;

  constructor({ store, onSend, onStop }) {
    Object.assign(this, { store, text: $("text"), send: $("send"), stop: $("stop"), count: $("count"), editing: $("editing") });
    this.text.value = store.draft;
    this.text.enterKeyHint = TOUCH.matches ? "enter" : "send";
    this.text.addEventListener("input", () => this.#changed());
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || composes(event) || (TOUCH.matches && !event.ctrlKey)) return;
      event.preventDefault();
      this.#submit(onSend);
    });
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(onSend);
    });
    this.stop.addEventListener("click", onStop);
    $("edit-end").addEventListener("click", () => this.endEdit());
    this.#changed();
  }

  set limit(bytes) {
    this.#limit = bytes;
    this.#changed();
  }

  // While an answer is under way there is a button to stop it; that to send comes back with the next text.
  set busy(busy) {
    if (busy === this.#busy) return;
    this.#busy = busy;
    this.#changed();
  }

  get isEditing() {
    return this.store.aside !== null;
  }

  // Put another text in place of the draft, which comes back when this one is sent or let be.
  edit(text) {
    this.store.aside ??= this.text.value;
    this.#fill(text);
  }

  endEdit() {
    const draft = this.store.aside ?? "";
    this.store.aside = null;
    this.#fill(draft);
  }

  #fill(text) {
    this.text.value = text;
    this.#changed();
    this.text.focus();
    this.text.setSelectionRange(text.length, text.length);
  }

  #submit(onSend) {
    const content = this.text.value;
    if (!content.trim() || this.#bytes() > this.#limit) return;
    onSend(content);
    this.endEdit();
  }

  #bytes() {
    const { length } = this.text.value;
    return length * 3 < this.#limit * NEAR ? length : new TextEncoder().encode(this.text.value).length;
  }

  #changed() {
    const { text } = this, bytes = this.#bytes(), over = bytes > this.#limit, blank = !text.value.trim();
    text.style.height = "auto"; // a style set by script is the page's own; the policy is about markup
    text.style.height = `${Math.min(text.scrollHeight + 2, HIGHEST)}px`;
    this.store.draft = text.value;
    this.editing.hidden = !this.isEditing;
    const focused = document.activeElement === this.send || document.activeElement === this.stop;
    this.stop.hidden = !this.#busy;
    this.send.hidden = this.#busy && blank;
    if (focused && document.activeElement.hidden) text.focus();
    this.send.disabled = blank || over;
    this.count.hidden = bytes < this.#limit * NEAR;
    this.count.textContent = over ? `${bytes - this.#limit} bytes too many` : `${this.#limit - bytes} bytes left`;
    this.count.classList.toggle("over", over);
  }
}
