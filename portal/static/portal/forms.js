// Sends a form once, even if its button is clicked twice. The server has the same rule, because each form has a key.
(() => {
  const UNLOCK_AFTER_MS = 10000;
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.dataset.isSent) {
      event.preventDefault();
      return;
    }
    form.dataset.isSent = "yes";
    setTimeout(() => delete form.dataset.isSent, UNLOCK_AFTER_MS);
  });
  // A page that the browser restores after "back" can be sent again.
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-is-sent]")) delete form.dataset.isSent;
  });
})();
