// Counts down from the seconds that the server wrote into `.pm-countdown`. Without this script, the text does not
// change.
(() => {
  const loaded = performance.now();
  const format = (seconds) => {
    const whole = Math.ceil(seconds);
    const minutes = Math.floor(whole / 60);
    const rest = whole % 60;
    return minutes ? `${minutes} min${rest ? ` ${rest} s` : ""}` : `${whole} s`;
  };
  const tick = () => {
    for (const element of document.querySelectorAll(".pm-countdown")) {
      const left = Number(element.dataset.seconds) - (performance.now() - loaded) / 1000;
      element.textContent = left > 0 ? `${format(left)} left` : "over";
    }
  };
  tick();
  setInterval(tick, 1000);
})();
