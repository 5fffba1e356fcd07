/* A table that the server renders again every few seconds, while its page is visible. */
"use strict";
(() => {
  const EVERY_MS = 2000;
  const rows = document.getElementById("rows");
  const said = document.getElementById("following");

  function say(text, mark) {
    if (said.textContent !== text) {
      said.textContent = text;
      said.className = `badge ${mark}`;
    }
  }

  async function again() {
    if (!document.hidden && !rows.contains(document.activeElement)) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Ringfence-Follow": "1" }, redirect: "error" });
        if (!answer.ok) throw new Error(answer.status);
        const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("rows");
        if (next !== null && next.innerHTML !== rows.innerHTML) rows.innerHTML = next.innerHTML;
        say(said.dataset.ok, "ok");
      } catch {
        say(said.dataset.lost, "warn");
      }
    }
    setTimeout(again, EVERY_MS);
  }
  setTimeout(again, EVERY_MS);
})();
