// Where a message is written: grows with its text, counts its bytes, remembers the draft.

import { $ } from "./dom.js";

const HIGHEST = 240; // pixels
const NEAR = 0.8; // of the limit, from where it is shown

export class Composer {
  #limit = Infinity;
  #busy = false;

  constructor({ store, onSend, onStop }) {
    Object.assign(this, { store, text: $("text"), send: $("send"), stop: $("stop"), count: $("count"), editing: $("editing") });
    this.text.value = store.draft;
    this.text.addEventListener("input", () => this.#changed());
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
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

  // While an answer is under way, the button stops it.
  set busy(busy) {
    if (busy === this.#busy) return;
    const focused = document.activeElement === this.send || document.activeElement === this.stop;
    this.#busy = busy;
    this.stop.hidden = !busy;
    this.send.hidden = busy;
    if (focused) this.text.focus();
  }

  get isEditing() {
    return !this.editing.hidden;
  }

  fill(text) {
    this.text.value = text;
    this.#changed();
    this.text.focus();
    this.text.setSelectionRange(text.length, text.length);
  }

  edit(text) {
    this.editing.hidden = false;
    this.fill(text);
  }

  endEdit() {
    this.editing.hidden = true;
    this.fill("");
  }

  #submit(onSend) {
    const content = this.text.value;
    if (!content.trim() || this.#busy || this.#bytes() > this.#limit) return;
    this.editing.hidden = true;
    this.text.value = "";
    this.#changed();
    onSend(content);
  }

  #bytes() {
    const { length } = this.text.value;
    return length * 3 < this.#limit * NEAR ? length : new TextEncoder().encode(this.text.value).length;
  }

  #changed() {
    const { text } = this, bytes = this.#bytes(), over = bytes > this.#limit;
    text.style.height = "auto"; // a style set by script is the page's own; the policy is about markup
    text.style.height = `${Math.min(text.scrollHeight + 2, HIGHEST)}px`;
    this.store.draft = text.value;
    this.send.disabled = !text.value.trim() || over;
    this.count.hidden = bytes < this.#limit * NEAR;
    this.count.textContent = over ? `${bytes - this.#limit} bytes too many` : `${this.#limit - bytes} bytes left`;
    this.count.classList.toggle("over", over);
  }
}
