// A menu closes with Escape and with a click beside it.
(() => {
  const menus = [...document.querySelectorAll("details.menu")];
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && menus.find((menu) => menu.open);
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    for (const menu of menus) menu.open &&= menu.contains(event.target);
  });
})();
