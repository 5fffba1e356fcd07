/* A form that changes something is sent once. A second click would end the first one's answer, and be
   told that another change is being made: a person would take what was done for undone. */
"use strict";
(() => {
  const BUSY = "aria-busy";

  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.hasAttribute(BUSY)) event.preventDefault();
    else event.target.setAttribute(BUSY, "true");
  });

  function free() {
    for (const form of document.querySelectorAll(`form[${BUSY}]`)) form.removeAttribute(BUSY);
  }
  addEventListener("pageshow", free); // back, to a page that the browser kept
  addEventListener("keydown", (event) => event.key === "Escape" && free()); // it stopped waiting
})();
