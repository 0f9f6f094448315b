// Keeps what a person types into the form of a task: the draft is stored on the server, for this person only.
(() => {
  const WAIT_MS = 800;
  const form = document.getElementById("task-form");
  if (form === null) return;
  const state = form.querySelector("[data-draft-state]");
  let timer = 0, isSent = false;

  const save = async () => {
    timer = 0;
    if (isSent) return;
    try {
      const response = await fetch(form.dataset.draft, { method: "POST", body: new FormData(form), credentials: "same-origin" });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      const at = new Date(answer.saved_at), zone = state.dataset.zone;
      const time = (zone === "UTC" ? at.toISOString().slice(11) : at.toTimeString()).slice(0, 5);
      state.textContent = `Draft saved at ${time} ${zone}. Only you see it.`;
    } catch (error) {
      state.textContent = `The draft is not saved. ${error.message || "The portal did not respond."} Keep this page open.`;
    }
  };
  const count = (field) => {
    const shown = field.parentElement.querySelector("[data-count]") ?? field.insertAdjacentElement("afterend", document.createElement("p"));
    shown.dataset.count = "";
    shown.className = "help";
    shown.textContent = `${[...field.value].length} of ${field.dataset.longest} characters`;
  };
  form.addEventListener("input", (event) => {
    if (event.target.dataset.longest) count(event.target);
    state.textContent = "Saving the draft…";
    clearTimeout(timer);
    timer = setTimeout(save, WAIT_MS);
  });
  form.addEventListener("submit", () => {
    isSent = true;
    clearTimeout(timer);
  });
  document.getElementById("task-problems")?.focus();
})();
