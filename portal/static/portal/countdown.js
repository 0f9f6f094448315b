// Counts on what the server has written into `.pm-countdown`. Without this script its text stands as it was.
(() => {
  const loaded = performance.now();
  const told = (seconds) => {
    const whole = Math.ceil(seconds);
    const minutes = Math.floor(whole / 60);
    const rest = whole % 60;
    return minutes ? `${minutes} min${rest ? ` ${rest} s` : ""}` : `${whole} s`;
  };
  const tick = () => {
    for (const place of document.querySelectorAll(".pm-countdown")) {
      const left = Number(place.dataset.seconds) - (performance.now() - loaded) / 1000;
      place.textContent = left > 0 ? `${told(left)} left` : "over";
    }
  };
  tick();
  setInterval(tick, 1000);
})();
