/* Hand in a file. The browser keeps the file and sends it with each step; the server keeps nothing. */
"use strict";
(() => {
  const intake = document.getElementById("intake");
  if (intake === null) return;
  const by = (id) => document.getElementById(id);
  const [feed, input, drop, dropped] = ["feed", "file", "drop", "dropped"].map(by);
  const [working, progress, step, trouble, seen] = ["working", "progress", "step", "trouble", "seen"].map(by);
  const words = intake.dataset;
  let file = null;
  let request = null;
  let isTaking = false; // submitted, and not answered yet

  function say(text) {
    trouble.textContent = text;
    trouble.hidden = text === "";
    if (text !== "") input.value = ""; // else the same file, chosen again, would be no change
  }

  function busy(text) {
    working.hidden = text === "";
    step.textContent = text;
    progress.removeAttribute("value");
    seen.setAttribute("aria-busy", String(text !== ""));
  }

  /* XMLHttpRequest, since fetch does not say how much of a file was sent. */
  function send(address, fields, text, then) {
    // A second click would be told that the list is worked on, and the first one's answer be lost.
    if (isTaking) return;
    if (request !== null) request.abort();
    isTaking = address === "/files/submit";
    const mine = (request = new XMLHttpRequest());
    const form = { csrf: intake.dataset.csrf, feed: feed.value, name: file.name, ...fields };
    mine.open("POST", address);
    mine.setRequestHeader("Accept", "application/json");
    mine.setRequestHeader("Content-Type", "application/octet-stream");
    mine.upload.addEventListener("progress", (event) => {
      progress.value = (100 * event.loaded) / event.total;
      step.textContent = words.sent.replace("{percent}", String(Math.round(progress.value)));
    });
    mine.upload.addEventListener("load", () => busy(text));
    mine.addEventListener("load", () => {
      busy("");
      if (mine.status === 200 && mine.responseURL.endsWith(address)) then(mine.responseText);
      else say(problem(mine));
    });
    mine.addEventListener("error", () => {
      busy("");
      say(words.lost);
    });
    mine.addEventListener("loadend", () => {
      if (mine === request) isTaking = false;
    });
    say("");
    busy(words.sending);
    mine.send(new Blob([`${JSON.stringify(form)}\n`, file]));
  }

  function problem(answer) {
    try {
      return JSON.parse(answer.responseText).detail;
    } catch {
      return words.out;
    }
  }

  function reading() {
    const held = seen.querySelector("[data-read-as]");
    const whole = held === null ? null : JSON.parse(held.dataset.readAs);
    if (whole === null || by("reading") === null) return whole;
    const places = {};
    for (const one of by("reading").querySelectorAll("select[data-place]")) {
      if (one.value !== "") places[one.value] = JSON.parse(one.dataset.place);
    }
    if (Object.keys(places).length > 0) whole.options = { ...whole.options, columns: places };
    for (const part of ["sheet", "items"]) {
      if (by(part) !== null) whole.options = { ...whole.options, [part]: by(part).value };
    }
    whole.region = by("region").value || null;
    whole.dates = by("dates").value || "iso";
    whole.expires_dates = by("expires-dates")?.value ?? "";
    whole.buddhist = by("era").value === "buddhist";
    return whole;
  }

  /* What is shown was found for one list, file and reading: once they differ it may not be submitted. */
  function outdated() {
    if (by("outcome") !== null) by("outcome").hidden = true;
  }

  function show(html) {
    seen.innerHTML = html;
    seen.querySelector("h2").focus();
    const on = (id, what, act) => by(id)?.addEventListener(what, (event) => {
      event.preventDefault();
      act();
    });
    const of_file = { read_as: reading() };
    on("reading", "submit", () => look(reading()));
    by("reading")?.addEventListener("change", outdated);
    on("look-at-calls", "click", () =>
      send("/files/calls", of_file, words.deciding, (more) => {
        by("calls").innerHTML = more;
      }));
    on("submit", "submit", () =>
      send("/files/submit", { ...of_file, reason: by("reason").value }, words.taking, (done) => show(done)));
  }

  function look(how) {
    if (file === null) return;
    send("/files/look", how === null ? {} : { read_as: how }, words.reading, show);
  }

  function take(chosen) {
    if (chosen === undefined || isTaking) return;
    file = chosen;
    seen.replaceChildren();
    const size = file.size.toLocaleString(`${document.documentElement.lang}-u-nu-latn`);
    dropped.textContent = words.size.replace("{count}", size).replace("{name}", () => file.name);
    look(null);
  }

  input.addEventListener("change", () => take(input.files[0]));
  feed.addEventListener("change", () => {
    outdated();
    look(reading());
  });
  intake.addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
})();
