// The theme that was chosen, before anything is drawn. A classic script: modules run too late for the first frame.

try {
  document.documentElement.dataset.theme = localStorage.getItem("cloudia.theme") ?? "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
