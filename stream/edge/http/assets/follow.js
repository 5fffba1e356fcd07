/* A table that the server renders again every few seconds, while its page is visible. */
"use strict";
(() => {
  const EVERY_MS = 2000;
  const rows = document.getElementById("rows");
  const said = document.getElementById("following");
  let shown = rows.innerHTML; // as the server wrote it: times are in the reader's zone after that

  function say(text, mark) {
    if (said.textContent !== text) {
      said.textContent = text;
      said.className = `badge ${mark}`;
    }
  }

  async function again() {
    if (!document.hidden && !rows.contains(document.activeElement)) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Ringfence-Follow": "1" }, redirect: "manual" });
        const is_out = answer.type === "opaqueredirect"; // to the sign-in
        if (!is_out && !answer.ok) throw new Error(answer.status);
        const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("rows");
        if (next !== null && next.innerHTML !== shown) rows.innerHTML = shown = next.innerHTML;
        if (is_out) say(said.dataset.out, "warn");
        else say(said.dataset.ok, "ok");
      } catch {
        say(said.dataset.lost, "warn");
      }
    }
    setTimeout(again, EVERY_MS);
  }
  setTimeout(again, EVERY_MS);
})();
