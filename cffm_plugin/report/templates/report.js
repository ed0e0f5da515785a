"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  // --- Dark and light ---------------------------------------------------------------------
  const stored = (() => {
    try { return localStorage.getItem("cffm-report-theme"); } catch { return null; }
  })();
  if (stored) document.documentElement.dataset.theme = stored;
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try { localStorage.setItem("cffm-report-theme", root.dataset.theme); } catch { /* a page from the disk may have no storage */ }
  });

  // --- Tables -----------------------------------------------------------------------------
  const valueOf = (cell, byDifference) => {
    const text = byDifference && cell.dataset.difference !== undefined
      ? cell.dataset.difference : cell.dataset.value;
    const value = Number(text);
    return text === "nan" || text === "" ? NaN : Number.isNaN(value) ? text : value;
  };
  const compare = (a, b) => {
    if (typeof a === "string" || typeof b === "string") {
      return String(a).localeCompare(String(b), undefined, { numeric: true });
    }
    return a - b;
  };
  const sortBy = (table, head, descending) => {
    const column = Number(head.dataset.column);
    const difference = table.closest("section").querySelector(".by-difference");
    const isText = head.classList.contains("text");
    const key = (row) => isText ? row.cells[column].dataset.value
      : valueOf(row.cells[column], difference !== null && difference.checked);
    const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      const last = Number.isNaN(a) - Number.isNaN(b);  // undefined values come last either way
      return last || (descending ? compare(b, a) : compare(a, b));
    });
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table.sorted")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = head.querySelector(".sort");
      if (button) {
        button.addEventListener("click", () =>
          sortBy(table, head, head.getAttribute("aria-sort") === "ascending"));
      }
    }
  }
  for (const box of document.querySelectorAll(".by-difference")) {
    box.addEventListener("change", () => {
      for (const table of box.closest("section").querySelectorAll("table.sorted")) {
        const head = table.querySelector("th[aria-sort]");
        if (head) sortBy(table, head, head.getAttribute("aria-sort") === "descending");
      }
    });
  }

  if (!data.players.length) return;

  // --- Sheets of frames -------------------------------------------------------------------
  // Each takes some megabytes once it is decoded; this one's and the next one's must fit.
  const MOST_SHEETS = Math.max(48, 3 * (2 + 3 * data.models.length));
  const sheets = new Map();  // URL -> promise of an image, the last used last
  const sheetOf = (url) => {
    let promise = sheets.get(url);
    sheets.delete(url);
    if (!promise) {
      promise = new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = () => resolve(image.decode().then(() => image));
        image.onerror = () => reject(new Error(`${url} is missing or damaged.`));
        image.src = url;
      });
      promise.catch(() => sheets.delete(url));
    }
    sheets.set(url, promise);
    while (sheets.size > MOST_SHEETS) sheets.delete(sheets.keys().next().value);
    return promise;
  };

  // --- The player -------------------------------------------------------------------------
  const stage = byId("stage"), slider = byId("frame"), play = byId("play");
  const state = { player: null, frame: 0, shown: -1, timer: null, wanted: 0 };
  const panes = [
    { title: "input", labels: null, model: null },
    { title: "truth", labels: "truth", model: null },
    ...data.models.map((name, m) => ({ title: name, labels: `labels${m}`, model: m })),
  ];
  for (const pane of panes) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const title = document.createElement("span");
    pane.now = document.createElement("span");
    pane.canvas = document.createElement("canvas");
    title.textContent = pane.title;
    if (pane.model !== null) title.className = `key line${pane.model % 6}`;
    pane.now.className = "now";
    pane.canvas.setAttribute("role", "img");
    pane.canvas.setAttribute("aria-label", pane.title);
    caption.append(title, " ", pane.now);
    figure.append(caption, pane.canvas);
    byId("panes").append(figure);
  }

  const layersOf = (pane) => {
    const layers = [{ name: "input", opacity: 1 }];
    if (pane.labels) layers.push({ name: pane.labels, opacity: Number(byId("opacity").value) / 100 });
    if (pane.model !== null) {
      if (byId("difference").checked) layers.push({ name: `difference${pane.model}`, opacity: 1 });
      if (byId("flicker").checked) layers.push({ name: `flicker${pane.model}`, opacity: 1 });
    }
    return layers.filter((layer) => layer.opacity > 0);
  };
  const urlOf = (player, layer, sheet) => `${data.folder}/${player.video}/${layer}-${sheet}.webp`;

  const write = (pane, names, width) => {
    const context = pane.canvas.getContext("2d");
    const size = Math.max(8, Math.round(width / 34));
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = Math.max(2, size / 4);
    context.strokeStyle = "#000";
    context.fillStyle = "#fff";
    const written = [];  // names that would lie over others are left out
    for (const [k, x, y] of names) {
      const half = context.measureText(data.classes[k]).width / 2;
      const inside = Math.min(Math.max(x, half + 2), Math.max(half + 2, width - half - 2));
      const overlaps = written.some((other) =>
        Math.abs(other.x - inside) < other.half + half + 4 && Math.abs(other.y - y) < size + 2);
      if (overlaps) continue;
      written.push({ x: inside, y, half });
      context.strokeText(data.classes[k], inside, y);
      context.fillText(data.classes[k], inside, y);
    }
  };

  // All panes show one frame: they are painted at once, when every picture of it is decoded.
  const show = async (frame) => {
    const player = state.player;
    state.frame = Math.min(Math.max(frame, 0), player.frames.length - 1);
    const wanted = ++state.wanted, at = state.frame;
    const sheet = Math.floor(at / player.perSheet), row = at % player.perSheet;
    const layers = panes.map(layersOf);
    const load = (number) => layers.map((of) =>
      Promise.all(of.map((layer) => sheetOf(urlOf(player, layer.name, number)))));
    let pictures;
    try {
      pictures = await Promise.all(load(sheet));
    } catch (error) {
      if (wanted === state.wanted) trouble(error.message);
      return;
    }
    if (wanted !== state.wanted) return;  // another frame was asked for meanwhile
    trouble("");
    panes.forEach((pane, p) => {
      const context = pane.canvas.getContext("2d");
      const { width, height } = player;
      context.globalAlpha = 1;
      context.clearRect(0, 0, width, height);
      pictures[p].forEach((picture, k) => {
        context.globalAlpha = layers[p][k].opacity;
        context.drawImage(picture, 0, row * height, width, height, 0, 0, width, height);
      });
      context.globalAlpha = 1;
      if (pane.labels && byId("names").checked) write(pane, player.names[pane.labels][at], width);
      pane.canvas.dataset.frame = String(at);
      const flicker = pane.model === null || at === 0 ? null : player.flicker[pane.model][at - 1];
      pane.now.textContent = flicker === null || flicker === undefined ? "" : `flicker ${flicker.toFixed(2)}%`;
    });
    state.shown = at;
    stage.dataset.frame = String(at);
    slider.value = String(at);
    byId("place").textContent = `${at + 1} of ${player.frames.length}: ${player.frames[at]}`;
    for (const line of byId("strips").querySelectorAll(".now")) line.setAttribute("transform", `translate(${at} 0)`);
    const next = sheet + 1;
    if (next * player.perSheet < player.frames.length) load(next).forEach((each) => each.catch(() => {}));
  };
  const trouble = (text) => {
    byId("trouble").hidden = !text;
    byId("trouble").textContent = text;
    if (text) pause();
  };

  const pause = () => {
    clearTimeout(state.timer);
    state.timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-label", "Play");
  };
  const start = () => {
    play.textContent = "Pause";
    play.setAttribute("aria-label", "Pause");
    const tick = async () => {
      const began = performance.now();
      const isLast = state.frame >= state.player.frames.length - 1;
      await show(isLast ? 0 : state.frame + 1);
      if (state.timer === null) return;  // paused meanwhile
      const rest = 1000 / Number(byId("rate").value) - (performance.now() - began);
      state.timer = setTimeout(tick, Math.max(0, rest));
    };
    state.timer = setTimeout(tick, 0);
  };
  const toggle = () => (state.timer === null ? start() : pause());
  const step = (by) => { pause(); show(state.frame + by); };

  const SVG = "http://www.w3.org/2000/svg";
  const make = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const drawStrips = () => {
    const player = state.player, last = player.frames.length, row = 30;
    const height = row * data.models.length;
    const svg = make("svg", { viewBox: `-0.5 0 ${last} ${height}`, preserveAspectRatio: "none", style: `height: ${height}px` });
    for (const first of player.windows.slice(0, 3)) {  // all together may be the whole video
      svg.append(make("rect", { class: "window", x: first - 0.5, y: 0, width: data.windowSize, height }));
    }
    player.flicker.forEach((values, m) => {
      const bars = values.map((value, i) => {
        if (value === null || value <= 0) return "";
        const y = row * (1 - Math.min(1, value / data.top)), foot = row * (m + 1);
        return `M${i + 0.5} ${foot}V${row * m + y}h1V${foot}z`;
      });
      svg.append(make("path", { class: `fill${m % 6}`, d: bars.join("") }));
      svg.append(make("line", { x1: -0.5, x2: last, y1: row * (m + 1), y2: row * (m + 1), stroke: "currentColor", "stroke-width": 0.3 }));
    });
    svg.append(make("line", { class: "now", x1: 0, x2: 0, y1: 0, y2: height }));
    const seek = (event) => {
      const box = svg.getBoundingClientRect();
      pause();
      show(Math.floor(((event.clientX - box.left) / box.width) * last));
    };
    svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); seek(event); });
    svg.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });
    byId("strips").replaceChildren(svg);
  };
  const drawLegend = () => {
    byId("legend").replaceChildren(...state.player.classes.map((k) => {
      const entry = document.createElement("span"), swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.backgroundColor = data.colors[k];
      entry.append(swatch, data.classes[k]);
      return entry;
    }));
  };

  const choose = (video, frame) => {
    const player = data.players.find((each) => each.video === video);
    if (!player) return;
    pause();
    if (player !== state.player) {
      state.player = player;
      for (const pane of panes) {
        pane.canvas.width = player.width;
        pane.canvas.height = player.height;
      }
      slider.max = String(player.frames.length - 1);
      byId("video").value = String(video);
      byId("worst").disabled = !player.windows.length;
      drawStrips();
      drawLegend();
    }
    show(frame);
  };
  const toWorst = () => {
    const { windows } = state.player;
    if (!windows.length) return;
    const at = windows.indexOf(state.frame);  // the next worst one, when it is at one
    pause();
    show(windows[(at + 1) % windows.length]);
  };

  byId("video").append(...data.players.map((player) => new Option(player.label, String(player.video))));
  byId("video").addEventListener("change", (event) => choose(Number(event.target.value), 0));
  byId("worst").addEventListener("click", toWorst);
  byId("first").addEventListener("click", () => { pause(); show(0); });
  byId("last").addEventListener("click", () => { pause(); show(state.player.frames.length - 1); });
  byId("back").addEventListener("click", () => step(-1));
  byId("forward").addEventListener("click", () => step(1));
  play.addEventListener("click", toggle);
  slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
  for (const id of ["opacity", "names", "difference", "flicker"]) {
    byId(id).addEventListener("input", () => show(state.frame));
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-video]");
    if (!link) return;
    event.preventDefault();
    choose(Number(link.dataset.video), Number(link.dataset.frame || 0));
    byId("player").scrollIntoView();
    stage.focus({ preventScroll: true });
  });

  const isInView = () => {
    const box = stage.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  };
  const flip = (id) => { byId(id).checked = !byId(id).checked; show(state.frame); };
  const keys = {
    ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
    ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
    Home: () => { pause(); show(0); },
    End: () => { pause(); show(state.player.frames.length - 1); },
    " ": toggle,
    d: () => flip("difference"),
    f: () => flip("flicker"),
    n: () => flip("names"),
    w: toWorst,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const isOnPage = target === document.body && isInView();
    if (!stage.contains(target) && !isOnPage) return;
    // What has keys of its own keeps them.
    if (target.matches("select, input[type=range]")) return;
    if (event.key === " " && target.matches("button, input")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!Object.hasOwn(keys, key)) return;
    event.preventDefault();
    keys[key](event);
  });

  choose(data.players[0].video, 0);
})();
