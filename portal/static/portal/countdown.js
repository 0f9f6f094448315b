// Counts down from the seconds that the server wrote into `.pm-countdown`. Without this script, the text does not
// change.
(() => {
  const read = new WeakMap(); // the seconds that the server wrote into an element, and when this script read them
  const format = (seconds) => {
    const whole = Math.ceil(seconds);
    const minutes = Math.floor(whole / 60);
    const rest = whole % 60;
    return minutes ? `${minutes} min${rest ? ` ${rest} s` : ""}` : `${whole} s`;
  };
  const tick = () => {
    for (const element of document.querySelectorAll(".pm-countdown")) {
      const { seconds } = element.dataset; // a live page writes a new number
      if (read.get(element)?.seconds !== seconds) read.set(element, { seconds, at: performance.now() });
      const left = Number(seconds) - (performance.now() - read.get(element).at) / 1000;
      element.textContent = left > 0 ? `${format(left)} left` : "over";
    }
  };
  tick();
  setInterval(tick, 1000);
})();
