// The frame of all pages: menu on narrow screens, choice of the tenant, and the command palette.
(() => {
  const QUIET_MS = 150;
  const find = (selector) => document.querySelector(selector);
  const isTyping = (element) => /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) || element.isContentEditable;
  let timer, latest = 0, chosen = -1;

  const options = () => [...document.querySelectorAll("#palette [role=option]")];
  const choose = (index) => {
    const all = options();
    chosen = all.length ? (index + all.length) % all.length : -1;
    all.forEach((option, place) => {
      option.id = `palette-option-${place}`;
      option.setAttribute("aria-selected", String(place === chosen));
    });
    const input = find("#palette input");
    if (chosen < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", all[chosen].id);
    all[chosen].scrollIntoView({ block: "nearest" });
  };
  const search = async () => {
    const palette = find("#palette"), request = ++latest;
    const term = palette.querySelector("input").value.trim();
    let text = null;
    try {
      const response = await fetch(`${palette.dataset.address}?s=${encodeURIComponent(term)}`);
      if (response.ok && !response.redirected) text = await response.text();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the portal does not respond
    }
    if (request !== latest) return; // a later request has replaced this one
    const results = find("#palette-results");
    if (text === null) results.textContent = "The search failed. Reload the page.";
    else results.innerHTML = text;
    choose(0);
  };
  const open = () => {
    const palette = find("#palette");
    if (!palette || palette.open) return;
    palette.showModal();
    const input = palette.querySelector("input");
    input.select();
    input.focus();
    search();
  };
  const toggleMenu = (button, isOpen) => {
    find("#side").classList.toggle("open", isOpen);
    button.setAttribute("aria-expanded", String(isOpen));
  };

  // The entry of this page may be below the lower end of the navigation.
  const entry = find("#side .nav [aria-current]");
  if (entry) entry.scrollIntoView({ block: "nearest" });

  document.addEventListener("click", (event) => {
    const menu = event.target.closest("[data-open-menu]");
    if (menu) return toggleMenu(menu, menu.getAttribute("aria-expanded") !== "true");
    const opened = find("[data-open-menu][aria-expanded=true]");
    if (opened && !event.target.closest("#side")) toggleMenu(opened, false);
    if (event.target.closest("[data-open-palette]")) open();
    if (event.target.id === "palette") event.target.close(); // a click beside the dialog
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-send-on-change]")) event.target.form.submit();
  });
  document.addEventListener("input", (event) => {
    if (!event.target.closest("#palette")) return;
    clearTimeout(timer);
    timer = setTimeout(search, QUIET_MS);
  });
  document.addEventListener("keydown", (event) => {
    const isShortcut = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
    if (isShortcut || (event.key === "/" && !isTyping(event.target) && !event.ctrlKey && !event.altKey)) {
      event.preventDefault();
      return open();
    }
    const menu = find("[data-open-menu][aria-expanded=true]");
    if (event.key === "Escape" && menu) {
      toggleMenu(menu, false);
      menu.focus();
    }
    if (!event.target.closest("#palette")) return;
    if (event.key === "Escape") {
      event.preventDefault(); // a search field would only be emptied
      find("#palette").close();
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
    }
    if (event.key === "Enter" && options()[chosen]) {
      event.preventDefault();
      options()[chosen].click();
    }
  });
})();
