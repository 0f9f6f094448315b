// Copies the value of a button with `data-copy` and says in its label for two seconds if this succeeded.
(() => {
  const SHOWN_MS = 2000;
  // A browser offers the clipboard only on https and on localhost. The older command works everywhere.
  const copy = async (text) => {
    if (navigator.clipboard) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch {
        // The browser refused. Try the older command.
      }
    }
    const focused = document.activeElement;
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "sr";
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return isCopied;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const isCopied = await copy(button.dataset.copy);
    const label = button.getAttribute("aria-label");
    if (button.dataset.isCopied) return;
    button.dataset.isCopied = "yes";
    button.setAttribute("aria-label", isCopied ? "Copied" : "Not copied. Select the text and copy it.");
    setTimeout(() => {
      button.setAttribute("aria-label", label);
      delete button.dataset.isCopied;
    }, SHOWN_MS);
  });
})();
