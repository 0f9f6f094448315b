// Tells the server the browser's time zone, and switches between local time and UTC (portal/time_zone.py).
(() => {
  const YEAR = 31536000;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const write = (name, value, age) => {
    document.cookie = `${name}=${value}; path=/; max-age=${age}; samesite=lax`;
  };
  if (zone) write("pointsman_zone", zone, YEAR);
  document.addEventListener("change", (event) => {
    const choice = event.target.closest("[data-zone-choice]");
    if (!choice) return;
    write("pointsman_utc", "1", choice.value === "utc" ? YEAR : 0);
    location.reload();
  });
})();
