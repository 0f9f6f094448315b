// Copies the value of a button with `data-copy` and says so in its label for two seconds.
(() => {
  const SHOWN_MS = 2000;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    const label = button.getAttribute("aria-label");
    if (button.dataset.isCopied) return;
    button.dataset.isCopied = "yes";
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      button.setAttribute("aria-label", label);
      delete button.dataset.isCopied;
    }, SHOWN_MS);
  });
})();
