"use strict";
(() => {
  const page = document.documentElement;
  const failed = (what) => { page.dataset.error = what; };
  window.addEventListener("error", (event) => failed(event.message));
  document.addEventListener("securitypolicyviolation", (event) => failed(`blocked: ${event.blockedURI}`));
  page.classList.add("scripted");

  const slider = document.getElementById("lead");
  if (slider) {
    const player = document.getElementById("player");
    const button = document.getElementById("play");
    const minutes = slider.dataset.minutes.split(" ");
    let timer = 0;

    const valid = [...document.querySelectorAll(".valid")].map((one) => [one, one.dataset.valid.split("|")]);

    const show = (step) => {
      const words = `+${minutes[step]} min`;
      slider.value = step;
      slider.setAttribute("aria-valuetext", words);
      document.getElementById("when").textContent = words;
      valid.forEach(([one, times]) => { one.textContent = times[step]; });
      player.style.setProperty("--step", step);
    };
    const pause = () => {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
      button.setAttribute("aria-pressed", "false");
    };
    const play = () => {
      timer = setInterval(() => show((Number(slider.value) + 1) % minutes.length), 500);
      button.textContent = "Pause";
      button.setAttribute("aria-pressed", "true");
    };
    const follow = () => { // report.html#lead=30 opens with the frames 30 minutes ahead
      const wanted = /^#lead=([0-9.]+)$/.exec(location.hash);
      const step = wanted ? minutes.indexOf(wanted[1]) : -1;
      if (step < 0) return;
      show(step);
      player.scrollIntoView();
    };
    slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
    button.addEventListener("click", () => (timer ? pause() : play()));
    window.addEventListener("hashchange", follow);
    show(0);
    follow();
  }
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  page.dataset.ready = "";
})();
