/* The overview, live. Parts of the page come ready from the server and take each other's place. */
"use strict";
(() => {
  const standing = document.getElementById("standing");
  const charts = document.getElementById("charts");
  const KEPT = 1500; // points: a day of minutes, or an hour of looks
  const SPAN_S = Number(charts.dataset.seconds);
  const AGAIN_MS = 15000;
  const points = [[], [], [], [], [], []]; // time, calls, blocks, p50, p99, lag
  const drawn = [];
  standing.hidden = false;

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

  /* The list of changes comes with the figures: what it names is on the charts too. */
  function markers() {
    return [...document.querySelectorAll("[data-part=markers] [data-at]")].map((one) => [Number(one.dataset.at), one.dataset.kind]);
  }

  function mark(plot, colours) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    for (const [at, kind] of markers()) {
      const x = Math.round(plot.valToPos(at, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = colours[kind] ?? colours.list;
      ctx.setLineDash(kind === "start" ? [] : [4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  /* The whole span once it has passed; before, what there is of it. */
  function range() {
    const last = points[0].at(-1);
    return [Math.max(points[0][0], last - SPAN_S), last];
  }

  const short = new Intl.NumberFormat(`${document.documentElement.lang}-u-nu-latn`, { notation: "compact", maximumSignificantDigits: 3 });

  function draw(place, rows, colours) {
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const size = () => ({ width: Math.max(place.clientWidth, 120), height: Math.max(place.clientHeight, 120) });
    const marks = { list: colour("--series-3"), start: colour("--bad") };
    const plot = new uPlot({
      ...size(),
      padding: [8, 22, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      hooks: { draw: [(drawnPlot) => mark(drawnPlot, marks)] },
      scales: { x: { range }, y: { range: (_, least, most) => [0, Math.max(most * 1.1, 1)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, space: 70, values: [[60, "{HH}:{mm}"], [1, "{HH}:{mm}:{ss}"]].map(([step, form]) => [step, form, null, null, null, null, null, null, 0]) },
        { ...axis, size: 46, space: 32, values: (_, values) => values.map((value) => short.format(value)) },
      ],
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
    const source = new EventSource(`/events?span=${charts.dataset.span}`);
    source.addEventListener("figures", (event) => {
      const said = JSON.parse(event.data);
      replace(said.html);
      take(said.points);
      say(standing.dataset.live, "ok");
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        say(standing.dataset.closed, "warn");
        setTimeout(listen, AGAIN_MS);
      } else {
        say(standing.dataset.again, "warn");
      }
    });
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => charts.hidden || drawAll());
  listen();
})();
