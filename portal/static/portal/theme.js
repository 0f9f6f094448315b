// Light or dark: the choice of the person, or else of the browser. Loaded before the page is drawn.
(() => {
  const KEY = "adminTheme"; // the theme's own scripts read the same key
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = JSON.parse(localStorage.getItem(KEY) || '"auto"');
    const isDark = chosen === "dark" || (chosen !== "light" && dark.matches);
    document.documentElement.classList.toggle("dark", isDark);
  };
  apply();
  dark.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-switch-theme]")) return;
    const next = document.documentElement.classList.contains("dark") ? "light" : "dark";
    localStorage.setItem(KEY, JSON.stringify(next));
    apply();
  });
})();
