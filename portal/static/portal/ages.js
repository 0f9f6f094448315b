// Keeps relative times and durations right between two readings of a live page: `12 s ago` and `open for 12 s` grow,
// `in 4 min` shrinks.
//
// The server writes the age in seconds into `data-ago` (workflows/templatetags/times.py). It is negative before the
// time. The duration of something that has not ended is in `data-lasts`. The clock of the browser is not used, because it can differ from that of the server.
(() => {
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  const read = new WeakMap(); // the age that the server wrote, and when this script read it
  const two = (seconds, large, largeName, small, smallName) => {
    const rest = Math.floor((seconds % large) / small);
    return `${Math.floor(seconds / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
  };
  // The same words as `duration` in workflows/templatetags/times.py.
  const duration = (seconds) => {
    if (seconds < 2 * MINUTE) return `${seconds} s`;
    if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
    return seconds < 2 * DAY ? two(seconds, HOUR, "h", MINUTE, "min") : two(seconds, DAY, "d", HOUR, "h");
  };
  const words = (age, isAgo) => {
    if (age < 0) return `in ${duration(Math.ceil(-age))}`;
    return isAgo ? `${duration(Math.floor(age))} ago` : duration(Math.floor(age));
  };
  const tick = () => {
    for (const element of document.querySelectorAll("time[data-ago], time[data-lasts]")) {
      const { ago, lasts } = element.dataset;
      const written = ago ?? lasts; // a live page writes a new number
      if (read.get(element)?.written !== written) read.set(element, { written, at: performance.now() });
      const age = Number(written) + (performance.now() - read.get(element).at) / 1000;
      const text = words(age, ago !== undefined);
      if (element.textContent !== text) element.textContent = text;
    }
  };
  tick();
  setInterval(tick, 1000);
})();
