"use strict";
(() => {
  const page = document.documentElement;
  const stamp = page.dataset.stamp;
  if (location.search === "?newer" && window.parent !== window) { // an older page loads this one to compare their stamps
    window.parent.postMessage({ stamp }, "*");
    return;
  }
  const failed = (what) => { page.dataset.error = what; };
  window.addEventListener("error", (event) => failed(event.message));
  document.addEventListener("securitypolicyviolation", (event) => failed(`blocked: ${event.blockedURI}`));

  const get = (name) => document.getElementById(name);
  const data = JSON.parse(get("data").textContent);
  const slider = get("step"), button = get("play"), picture = get("picture");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const minute = 60000;
  const state = { step: data.newest, shown: "rate", timer: 0 };

  const local = (time, options) => new Intl.DateTimeFormat("en-GB", options).format(time);
  const zone = { weekday: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  const here = (frame) => frame.offset === -new Date(frame.time).getTimezoneOffset() ? [] : [`${local(frame.time, zone)} here`];
  const amount = (minutes) => {
    const [size, unit] = minutes < 120 ? [1, "min"] : minutes < 2880 ? [60, "h"] : minutes < 1051200 ? [1440, "days"] : [525600, "years"];
    return `${Math.floor(minutes / size)} ${unit}`;
  };
  const fromNow = (time) => {
    const minutes = Math.round((time - Date.now()) / minute);
    return minutes === 0 ? "now" : minutes > 0 ? `in ${amount(minutes)}` : `${amount(-minutes)} ago`;
  };
  const text = (name, words) => { const one = get(name); if (one.textContent !== words) one.textContent = words; };

  // the frame of the slider

  const frameOf = (set) => `data:image/png;base64,${dark.matches ? set.dark : set.light}`;
  const show = () => {
    const frame = data.frames[state.step], isForecast = state.step > data.newest;
    const asChance = state.shown !== "rate" && isForecast;
    const set = asChance ? data.chances[state.shown] : data.rates;
    const place = asChance ? state.step - data.newest - 1 : state.step;
    picture.src = frameOf(set) + set.rest[place];
    picture.alt = `map of ${asChance ? `the chance of at least ${state.shown} mm/h` : "rain rates"}, ${frame.kind}, ${frame.clock}`;
    get("when").dataset.kind = get("map").dataset.kind = frame.kind;
    get("absent").hidden = !frame.absent;
    text("kind", frame.kind);
    text("clock", frame.clock);
    text("day", frame.day);
    text("lead", frame.words);
    text("local", ` · ${[...here(frame), fromNow(frame.time)].join(", ")}`);
    slider.value = state.step;
    slider.setAttribute("aria-valuetext", `${frame.clock}, ${frame.kind}, ${frame.words}`);
    document.querySelectorAll(".legend").forEach((one) => { one.hidden = (one.dataset.of === "rate") === asChance; });
    if (get("observed-note")) get("observed-note").hidden = state.shown === "rate" || isForecast;
    document.querySelectorAll(".rate[data-place]").forEach((one) => {
      const rate = data.places[Number(one.dataset.place)][state.step];
      one.textContent = rate === null ? "" : `${rate} mm/h`;
    });
    page.style.setProperty("--step", state.step);
  };
  const remember = () => { // in the address, because a reload keeps it
    const words = [state.step - data.newest, state.shown, state.timer ? "play" : ""].join(",");
    try { history.replaceState(null, "", `#${words}`); } catch { /* the page works without */ }
  };
  const pause = () => {
    clearTimeout(state.timer);
    state.timer = 0;
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", "play");
  };
  const next = () => {
    state.step = (state.step + 1) % data.frames.length;
    show();
    state.timer = setTimeout(next, [data.newest, data.frames.length - 1].includes(state.step) ? 1400 : 450);
  };
  const play = () => {
    state.timer = setTimeout(next, 450);
    button.setAttribute("aria-pressed", "true");
    button.setAttribute("aria-label", "pause");
  };
  const recall = () => {
    const [step, shown, motion] = location.hash.slice(1).split(",");
    const wanted = data.newest + Number(step);
    if (step && Number.isInteger(wanted)) state.step = Math.max(0, Math.min(data.frames.length - 1, wanted));
    const radio = [...document.querySelectorAll("[name=shown]")].find((one) => one.value === shown);
    if (radio) { radio.checked = true; state.shown = shown; }
    if (motion === "play") play();
  };
  slider.addEventListener("input", () => { pause(); state.step = Number(slider.value); show(); });
  slider.addEventListener("change", remember);
  button.addEventListener("click", () => { if (state.timer) pause(); else play(); remember(); });
  document.querySelectorAll("[name=shown]").forEach((one) => one.addEventListener("change", () => {
    state.shown = one.value;
    if (state.shown !== "rate" && state.step <= data.newest) state.step = data.newest + 1;
    show();
    remember();
  }));
  dark.addEventListener("change", show);

  // the age of the data by the clock of this device

  const tell = () => {
    const age = (Date.now() - data.reference) / minute;
    const isAhead = age < -data.timestep;
    const kind = age > data.old ? "old" : age > data.late || isAhead ? "late" : "fresh";
    const words = isAhead ? "clock differs" : age < 1 ? "new" : `${amount(age)} old`;
    get("age").dataset.state = kind;
    text("age-words", kind === "old" ? `OLD: ${words}` : kind === "late" && !isAhead ? `LATE: ${words}` : words);
    text("age-local", here(data.frames[data.newest]).map((one) => ` · ${one}`).join(""));
    page.classList.toggle("aged", kind === "old");
    get("grey").hidden = kind !== "old";
    if (get("warning-kind")) text("warning-kind", kind === "old" ? `Old warning: the data are ${words}` : "Warning");
    const isOver = Date.now() > data.frames[data.frames.length - 1].time;
    get("alarm").hidden = kind !== "old" && !isAhead;
    text("alarm", isAhead ? "The newest frame is later than the clock of this device: check the clock." :
      isOver ? "Old data: all of this forecast lies in the past." : "Old data: no new radar frames arrive. The map does not show the current rain.");
    document.title = `${kind === "old" ? "OLD " : ""}${words} · rain radar and forecast`;
    const first = data.frames[0].time, last = data.frames[data.frames.length - 1].time;
    const at = (Date.now() - first) / (last - first);
    get("now").hidden = !(at > 0 && at < 1);
    get("now").textContent = "now";
    page.style.setProperty("--at", at);
    show();
  };

  // labels that do not cover each other

  const settle = () => {
    const edge = get("map").getBoundingClientRect(), taken = [...document.querySelectorAll(".place i, .scale")].map((one) => one.getBoundingClientRect());
    const fits = (one) => one.left >= edge.left && one.right <= edge.right && one.top >= edge.top && one.bottom <= edge.bottom &&
      taken.every((other) => one.right < other.left || one.left > other.right || one.bottom < other.top || one.top > other.bottom);
    document.querySelectorAll(".place").forEach((place) => {
      const found = ["", "left", "above", "below"].some((side) => {
        place.className = `place ${side}`;
        return fits(place.querySelector("b").getBoundingClientRect());
      });
      if (found) taken.push(place.querySelector("b").getBoundingClientRect());
      else place.className = "place bare";
    });
  };
  window.addEventListener("resize", settle);

  // a newer page replaces this one; without a readable one, this one stays

  const checked = (words) => text("check", `${words} (${local(Date.now(), { hour: "2-digit", minute: "2-digit", timeZoneName: "short" })}).`);
  const compare = (other) => {
    if (other && other !== stamp) { remember(); location.reload(); return; }
    if (other) checked("Checked for a newer page"); else checked("No newer page could be read, so this one stays");
  };
  const fromServer = async () => {
    try {
      const answer = await fetch(location.href.split("#")[0], { cache: "no-cache" });
      const whole = answer.ok ? (await answer.text()).trimEnd() : "";
      compare(whole.endsWith("</html>") && (/data-stamp="([0-9a-f]+)"/.exec(whole) || [])[1]);
    } catch { compare(""); }
  };
  const fromFile = () => { // a page may show a file, but not fetch it
    const frame = document.createElement("iframe");
    const done = (stampThere) => {
      clearTimeout(late);
      window.removeEventListener("message", heard);
      frame.remove();
      compare(stampThere);
    };
    const heard = (event) => { if (event.source === frame.contentWindow) done(String(event.data.stamp || "")); };
    const late = setTimeout(() => done(""), 10000);
    window.addEventListener("message", heard);
    frame.hidden = true;
    frame.src = `${location.href.split(/[?#]/)[0]}?newer`;
    document.body.append(frame);
  };
  const check = () => { if (!document.hidden) (location.protocol === "file:" ? fromFile : fromServer)(); };

  window.addEventListener("beforeprint", () => { get("numbers").open = true; });
  page.classList.add("scripted");
  get("numbers").open = false;
  recall();
  tell();
  settle();
  setInterval(tell, 10000);
  setInterval(check, data.check * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { tell(); check(); } });
  page.dataset.ready = "";
})();
