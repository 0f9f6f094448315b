// Changes only what differs when a live page is loaded again. Open details, focus and typed text stay.
(() => {
  const isTyped = (field) => field === document.activeElement || (field.type !== "hidden" && field.value !== field.defaultValue);
  const copyAttributes = (shown, fresh) => {
    for (const { name } of [...shown.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) shown.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (name !== "open" && shown.getAttribute(name) !== value) shown.setAttribute(name, value);
    }
  };
  const isSame = (shown, fresh) => shown.nodeName === fresh.nodeName && (shown.id ?? "") === (fresh.id ?? "");
  const update = (shown, fresh) => {
    if (shown.isEqualNode(fresh)) return;
    if (shown.nodeType !== Node.ELEMENT_NODE) {
      shown.nodeValue = fresh.nodeValue;
      return;
    }
    if (shown.matches("input, textarea, select") && isTyped(shown)) return;
    copyAttributes(shown, fresh);
    updateChildren(shown, fresh);
  };
  // Keep each child that the new page also has, in this order. Remove the others, and insert what is new.
  const updateChildren = (shown, fresh) => {
    let next = shown.firstChild;
    for (const node of [...fresh.childNodes]) {
      let found = next;
      while (found !== null && !isSame(found, node)) found = found.nextSibling;
      if (found === null) {
        shown.insertBefore(node, next);
        continue;
      }
      while (next !== found) {
        const removed = next;
        next = next.nextSibling;
        removed.remove();
      }
      next = found.nextSibling;
      update(found, node);
    }
    while (next !== null) {
      const removed = next;
      next = next.nextSibling;
      removed.remove();
    }
  };
  document.addEventListener("htmx:beforeSwap", (event) => {
    const shown = event.detail.target;
    if (!shown.matches("[data-live]") || event.detail.xhr.status !== 200) return;
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const fresh = page.getElementById(shown.id);
    if (fresh === null) return;
    event.detail.shouldSwap = false;
    update(shown, fresh);
  });
  // The last response of a page has no address to load again.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const shown = event.detail.elt;
    if (shown.matches("[data-live]") && !shown.hasAttribute("hx-get")) event.preventDefault();
  });
})();
