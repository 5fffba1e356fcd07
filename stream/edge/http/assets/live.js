/* The overview, live. Parts of the page come ready from the server and take each other's place. */
"use strict";
(() => {
  const standing = document.getElementById("standing");
  const charts = document.getElementById("charts");
  const KEPT = 300; // points
  const AGAIN_MS = 15000;
  const points = [[], [], [], [], [], []]; // time, calls, blocks, p50, p99, lag
  const drawn = [];

  function say(text, mark) {
    if (standing.textContent !== text) {
      standing.textContent = text;
      standing.className = `badge ${mark}`;
    }
  }

  /* A part that somebody is in with the keyboard stays until he has left it. */
  function replace(html) {
    const next = new DOMParser().parseFromString(html, "text/html");
    for (const part of next.querySelectorAll("[data-part]")) {
      const mine = document.querySelector(`[data-part="${part.dataset.part}"]`);
      if (mine !== null && !mine.contains(document.activeElement) && mine.innerHTML !== part.innerHTML) {
        mine.className = part.className;
        mine.innerHTML = part.innerHTML;
      }
    }
  }

  function colour(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function draw(place, rows, colours) {
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const size = () => ({ width: Math.max(place.clientWidth, 120), height: 150 });
    const plot = new uPlot({
      ...size(),
      legend: { show: false },
      cursor: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { y: { range: (_, least, most) => [0, Math.max(most * 1.1, 1)] } },
      axes: [{ ...axis, grid: { show: false }, size: 28, space: 60, values: [[1, "{HH}:{mm}", null, null, null, null, null, null, 0]] }, { ...axis, size: 48 }],
      series: [{}, ...rows.map((_, at) => ({ stroke: colour(colours[at]), width: 2, points: { show: false }, spanGaps: false }))],
    }, [points[0], ...rows.map((row) => points[row])], place);
    const fit = new ResizeObserver(() => plot.setSize(size()));
    fit.observe(place);
    drawn.push({ plot, rows, fit });
  }

  function drawAll() {
    for (const { plot, fit } of drawn.splice(0)) {
      fit.disconnect();
      plot.destroy();
    }
    const place = (key) => document.querySelector(`[data-chart="${key}"]`);
    draw(place("calls"), [1], ["--series-1"]);
    draw(place("blocked"), [2], ["--series-2"]);
    draw(place("latency"), [3, 4], ["--series-1", "--series-2"]);
    draw(place("lag"), [5], ["--series-1"]);
  }

  function take(more) {
    const last = points[0].at(-1) ?? 0;
    for (const point of more) {
      if (point[0] > last) point.forEach((value, row) => points[row].push(value));
    }
    for (const row of points) row.splice(0, Math.max(0, row.length - KEPT));
    if (charts.hidden && points[0].length > 1) {
      charts.hidden = false;
      drawAll();
    }
    for (const { plot, rows } of drawn) plot.setData([points[0], ...rows.map((row) => points[row])]);
  }

  function listen() {
    const source = new EventSource("/events");
    source.addEventListener("figures", (event) => {
      const said = JSON.parse(event.data);
      replace(said.html);
      take(said.points);
      say("live", "ok");
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        say("not live: signed out, or too many watch; reload the page", "warn");
        setTimeout(listen, AGAIN_MS);
      } else {
        say("not live: trying again", "warn");
      }
    });
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => charts.hidden || drawAll());
  listen();
})();
