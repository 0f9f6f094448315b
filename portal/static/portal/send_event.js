// After a change of a checked event, "Check" is the main action again, because the check was for other content.
(() => {
  const form = document.querySelector("form[data-checked]");
  form?.addEventListener("input", (event) => {
    if (event.target.name === "reason") return;
    for (const button of document.querySelectorAll("[data-check]")) button.classList.add("primary");
    document.querySelector("[data-send]").classList.remove("primary");
  });
})();
