// Selection bar of the run list. Without this script the bar is always there and acts on the checked rows.
(() => {
  const bar = document.getElementById("selection");
  const boxes = () => [...document.querySelectorAll("input[name=_selected_action]")];
  if (bar !== null && boxes().length > 0) {
    const across = bar.querySelector("[name=select_across]");
    const page = document.querySelector("[data-select-page]");
    const all = bar.querySelector("[data-select-all]");
    const note = bar.querySelector("[data-closed-note]");
    const show = () => {
      const chosen = boxes().filter((box) => box.checked);
      const isAll = across.value === "1";
      bar.hidden = chosen.length === 0;
      bar.querySelector("[data-selected]").textContent = isAll ? `All ${bar.dataset.total} selected` : `${chosen.length} selected`;
      all.hidden = isAll || bar.dataset.total === String(chosen.length);
      bar.querySelector("[data-clear]").hidden = false;
      page.checked = chosen.length === boxes().length;
      page.indeterminate = chosen.length > 0 && !page.checked;
      for (const box of boxes()) box.closest("tr").setAttribute("aria-selected", String(box.checked));
      const isClosed = !isAll && chosen.every((box) => !("open" in box.dataset));
      note.hidden = !isClosed || bar.querySelector("[data-needs-open]") === null;
      for (const button of bar.querySelectorAll("[data-needs-open]")) {
        button.setAttribute("aria-disabled", String(isClosed));
        if (isClosed) button.setAttribute("aria-describedby", note.id);
        else button.removeAttribute("aria-describedby");
      }
    };
    const check = (isChecked) => {
      for (const box of boxes()) box.checked = isChecked;
      across.value = "0";
      show();
    };
    page.hidden = false;
    page.addEventListener("change", () => check(page.checked));
    document.addEventListener("change", (event) => {
      if (!event.target.matches("input[name=_selected_action]")) return;
      across.value = "0";
      show();
    });
    // A live update can change the rows.
    document.addEventListener("live:update", show);
    all.addEventListener("click", (event) => {
      event.preventDefault();
      across.value = "1";
      show();
    });
    bar.querySelector("[data-clear]").addEventListener("click", (event) => {
      event.preventDefault();
      check(false);
      page.focus();
    });
    bar.addEventListener("click", (event) => {
      if (event.target.closest("[aria-disabled=true]")) event.preventDefault();
    });
    show();
  }
  // Fields without a value stay out of the address.
  for (const form of document.querySelectorAll("form[data-drop-empty]")) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) field.disabled ||= field.value === "";
    });
  }
})();
