/* Times in the reader's zone. The server writes UTC, which stays as the title, and is all without a script. */
"use strict";
(() => {
  const two = (number) => String(number).padStart(2, "0");

  function offset(at) {
    const minutes = -at.getTimezoneOffset();
    const whole = Math.trunc(Math.abs(minutes) / 60);
    const rest = Math.abs(minutes) % 60;
    return `UTC${minutes < 0 ? "-" : "+"}${whole}${rest ? `:${two(rest)}` : ""}`;
  }

  function words(at, to) {
    const clock = `${two(at.getHours())}:${two(at.getMinutes())}`;
    const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    if (to === "clock") return `${clock}:${two(at.getSeconds())}`;
    return to === "second" ? `${day} ${clock}:${two(at.getSeconds())}` : `${day} ${clock}`;
  }

  function show(within) {
    const bare = document.body.classList.contains("bare");
    for (const one of within.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(one.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const utc = one.textContent;
      one.title = utc;
      if (at.getTimezoneOffset() === 0) continue;
      one.textContent = words(at, one.dataset.to) + (bare ? ` (${offset(at)})` : "");
      if (one.closest("dd")) one.insertAdjacentHTML("afterend", ` <small class="dim">(${utc})</small>`);
    }
  }

  function showIn(picture) {
    for (const one of picture.querySelectorAll("svg text[data-at]")) {
      const at = new Date(one.dataset.at);
      if (!Number.isNaN(at.getTime()) && at.getTimezoneOffset() !== 0) one.textContent = words(at, "minute");
    }
  }

  const zone = document.getElementById("zone");
  const now = new Date();
  if (zone !== null && now.getTimezoneOffset() !== 0) {
    const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
    zone.textContent = zone.dataset.local.replace("{zone}", name).replace("{offset}", offset(now));
  }
  show(document);
  showIn(document);
  new MutationObserver((changes) => changes.forEach(({ addedNodes }) => {
    for (const node of addedNodes) if (node.nodeType === Node.ELEMENT_NODE) show(node.parentElement ?? node);
  })).observe(document.body, { childList: true, subtree: true });

  // On a phone the navigation is one line that scrolls: the page that is open is in sight.
  const current = document.querySelector(".bar nav [aria-current=page]");
  const list = current?.closest("ul");
  if (list && list.scrollWidth > list.clientWidth) list.scrollLeft = current.offsetLeft - list.offsetLeft - list.clientWidth / 3;
})();
