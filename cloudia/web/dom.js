// Small things of the DOM. Text goes in as text: nothing here, or anywhere in the page, takes HTML.

export const $ = (id) => document.getElementById(id);

// Make an element: attributes and `on…` listeners by name, then its children.
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true && !key.startsWith("aria-") ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Make an icon: a symbol of the sprite in index.html.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

// Tell whether a key belongs to an input method. Safari tells of the Enter that ends a composition after its end, by this code.
export const composes = (event) => event.isComposing || event.keyCode === 229;

export function button(label, iconName, onclick, attributes = {}) {
  return el("button", { type: "button", class: "quiet", onclick, ...attributes }, icon(iconName), el("span", {}, label));
}

// Copy text, and say so on the button.
export async function copy(text, pressed) {
  const label = pressed.querySelector("span"), before = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Not allowed";
  }
  setTimeout(() => (label.textContent = before), 1600);
}

const due = new Set();

// Run `work` before the next frame is drawn, once however often it is asked for.
export function beforeFrame(work) {
  if (due.size === 0) requestAnimationFrame(() => {
    const now = [...due];
    due.clear();
    for (const each of now) each();
  });
  due.add(work);
}

// Say something once to a screen reader.
export function announce(text) {
  const region = $("announcer");
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50);
}

// What an answer cost, as "$1.25" or with two digits that count, "$0.0012"; nothing where it is not known.
export function cost(dollars) {
  if (typeof dollars !== "number") return "";
  return dollars === 0 ? "$0" : `$${dollars.toFixed(Math.max(2, 1 - Math.floor(Math.log10(dollars))))}`;
}

export function seconds(milliseconds) {
  const value = milliseconds / 1000;
  return `${value < 10 ? value.toFixed(2).replace(/0$/, "") : Math.round(value)} s`;
}
