// The button that changes the theme; `theme.js` has set the one that was chosen before.

import { $ } from "./dom.js";

const THEMES = ["auto", "light", "dark"];

export function offerThemes() {
  const chosen = () => document.documentElement.dataset.theme;
  $("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(chosen()) + 1) % THEMES.length]));
  theme(chosen());
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
