// After a change of a checked event, "Check" is the main action again, because the check was for other content.
(() => {
  const form = document.querySelector("form[data-checked]");
  form?.addEventListener("input", (event) => {
    if (event.target.name === "reason") return;
    form.querySelector("[data-check]").classList.add("primary");
    form.querySelector("[data-send]").classList.remove("primary");
  });
})();
