// Loads a live page again and changes only what differs. Open details, focus, selection and typed text stay.
//
// A live element has an id and the attribute data-live. Its data-version is the version of the page that it shows
// (workflows/admin/live.py). Rows of a list have data-key, so that a row keeps its state when it moves. In an element
// with data-live-hold, new rows wait behind the button [data-live-new]. An element with data-live-notice, which a script of
// the theme changes, stays as it is, and the button loads the page again. A part with data-live-own is not changed. An element with data-live-along, for example the
// navigation, changes with the page, but has no version and causes no request.
(() => {
  const FIRST_DELAY = 2000, LAST_DELAY = 30000, SLOWER = 1.5;
  const live = () => [...document.querySelectorAll("[data-live][id]")];
  const along = () => [...document.querySelectorAll("[data-live-along][id]")];
  const version = () => live().find((element) => element.dataset.version)?.dataset.version ?? "";
  const content = (tag) => tag.split(".")[0];
  let delay = FIRST_DELAY, timer = 0, isLoading = false, problemSince = null, showsAll = false;

  // -- Changing only what differs --
  const isTyped = (field) =>
    field === document.activeElement || field.checked !== field.defaultChecked || (field.type !== "hidden" && field.value !== field.defaultValue);
  const copyAttributes = (shown, fresh) => {
    for (const { name } of [...shown.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) shown.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (name !== "open" && shown.getAttribute(name) !== value) shown.setAttribute(name, value);
    }
  };
  const keyOf = (node) => node.dataset?.key || node.id || "";
  const isOwn = (node) => node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-live-own");
  const isSame = (shown, fresh) =>
    shown.nodeName === fresh.nodeName && keyOf(shown) === keyOf(fresh) && isOwn(shown) === isOwn(fresh);
  const update = (shown, fresh) => {
    if (shown.isEqualNode(fresh) || isOwn(shown)) return;
    if (shown.nodeType !== Node.ELEMENT_NODE) {
      shown.nodeValue = fresh.nodeValue;
      return;
    }
    if (shown.matches("input, textarea, select") && isTyped(shown)) return;
    copyAttributes(shown, fresh);
    if (shown.hasAttribute("data-live-hold") && !showsAll) updateRows(shown, fresh);
    else updateChildren(shown, fresh);
  };
  // Keep each child that the new page also has, in this order. Remove the others, and insert what is new.
  const updateChildren = (shown, fresh) => {
    let next = shown.firstChild;
    for (const node of [...fresh.childNodes]) {
      let found = next;
      while (found !== null && !isSame(found, node)) found = found.nextSibling;
      if (found === null) {
        shown.insertBefore(document.importNode(node, true), next);
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
  // Change the rows that are shown, in place. Count the new rows on the button instead of inserting them.
  const updateRows = (shown, fresh) => {
    const left = new Map([...shown.children].map((row) => [keyOf(row), row]));
    let waiting = 0;
    let last = null;
    for (const row of [...fresh.children]) {
      const known = left.get(keyOf(row));
      left.delete(keyOf(row));
      if (known) update((last = known), row);
      else waiting += 1;
    }
    // New rows push the last rows to the next page. Every other row has left the list, for example with its filter.
    for (const row of left.values()) {
      const isPushed = waiting > 0 && last?.compareDocumentPosition(row) === Node.DOCUMENT_POSITION_FOLLOWING;
      if (!isPushed) row.remove();
    }
    for (const button of document.querySelectorAll("[data-live-new]")) {
      button.hidden = waiting === 0;
      button.textContent = `${waiting} new, show`;
    }
  };
  const notice = (shown, fresh) => {
    const isChanged = content(fresh.dataset.version ?? "") !== content(shown.dataset.version ?? "");
    shown.dataset.version = fresh.dataset.version;
    for (const button of isChanged ? document.querySelectorAll("[data-live-new]") : []) {
      button.hidden = false;
      button.textContent = "The list has changed, show";
    }
  };
  const swap = (page) => {
    for (const shown of [...live(), ...along()]) {
      const fresh = page.getElementById(shown.id);
      if (fresh === null) continue;
      if (shown.hasAttribute("data-live-notice")) notice(shown, fresh);
      else update(shown, fresh);
    }
    if (showsAll) for (const button of document.querySelectorAll("[data-live-new]")) button.hidden = true;
    showsAll = false;
    document.dispatchEvent(new CustomEvent("live:update"));
  };

  // A message about what was just done is no longer true when the page has changed.
  const dismiss = () => {
    for (const message of document.querySelectorAll("[data-live-moment]")) {
      const row = message.closest("li");
      (row.parentElement.childElementCount === 1 ? row.parentElement : row).remove();
    }
  };

  // -- "Live. Read at ..." --
  // The server writes the name of the time zone in which the page shows times.
  const zone = () => document.querySelector("[data-live-read] time")?.dataset.zone ?? "UTC";
  const clock = (at) => `${zone() === "UTC" ? at.toISOString().slice(11, 19) : at.toTimeString().slice(0, 8)} ${zone()}`;
  const showState = () => {
    const isLive = live().length !== 0;
    for (const element of document.querySelectorAll("[data-live-read]")) {
      element.classList.toggle("live", isLive);
      element.classList.toggle("stale", problemSince !== null);
      element.firstElementChild.hidden = !isLive;
    }
  };
  const showRead = (response) => {
    problemSince = null;
    const at = new Date(response.headers.get("Date") ?? Date.now());
    for (const element of document.querySelectorAll("[data-live-read]")) {
      const time = element.querySelector("time");
      time.dateTime = at.toISOString();
      time.textContent = clock(at);
    }
    for (const element of document.querySelectorAll("[data-live-problem]")) element.textContent = "";
    showState();
    document.dispatchEvent(new CustomEvent("live:read"));
  };
  const showProblem = (cause) => {
    problemSince ??= new Date();
    showState();
    const text = `Not updated since ${clock(problemSince)}. ${cause} The page tries again.`;
    for (const element of document.querySelectorAll("[data-live-problem]")) {
      if (element.textContent !== text) element.textContent = text;
    }
  };

  // -- Requests --
  const load = async () => {
    const before = version();
    // The mark says that no person caused the request, so it does not keep the session open.
    const headers = { "X-Live-Update": "1" };
    if (before && !showsAll) headers["If-None-Match"] = `"${before}"`;
    const response = await fetch(location.href, { headers, credentials: "same-origin", redirect: "manual" });
    if (response.type === "opaqueredirect") throw new Error("You are signed out, or the page has moved. Load it again.");
    if (response.status === 304) return { response, isChanged: false };
    if (!response.ok) throw new Error(`The portal responded with status ${response.status}.`);
    swap(new DOMParser().parseFromString(await response.text(), "text/html"));
    const isChanged = content(version()) !== content(before);
    if (isChanged) dismiss();
    return { response, isChanged };
  };
  const setLoading = (value) => {
    isLoading = value;
    for (const element of document.querySelectorAll("[data-live-read]")) element.ariaBusy = String(value);
  };
  const poll = async () => {
    clearTimeout(timer);
    if (isLoading || document.hidden || live().length === 0) return;
    setLoading(true);
    try {
      const { response, isChanged } = await load();
      showRead(response);
      delay = isChanged ? FIRST_DELAY : Math.min(delay * SLOWER, LAST_DELAY);
    } catch (error) {
      showProblem(error instanceof TypeError ? "The portal does not respond." : error.message);
      delay = Math.min(delay * SLOWER, LAST_DELAY);
    }
    setLoading(false);
    plan();
  };
  const plan = () => {
    clearTimeout(timer);
    if (!document.hidden && live().length !== 0) timer = setTimeout(poll, showsAll ? 0 : delay);
  };
  document.addEventListener("visibilitychange", () => {
    delay = FIRST_DELAY;
    if (document.hidden) clearTimeout(timer);
    else poll();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-live-new]")) return;
    if (document.querySelector("[data-live-notice]") !== null) return location.reload();
    showsAll = true;
    poll();
  });
  showState();
  plan();
})();
