"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const NS = "http://www.w3.org/2000/svg";
  const COLOURS = 8;

  // -- small helpers ------------------------------------------------------------------------------------------------
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    node.append(...children);
    return node;
  }
  function draw(parent, tag, attributes = {}, text = null) {
    const node = document.createElementNS(NS, tag);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    if (text !== null) node.textContent = text;
    parent.append(node);
    return node;
  }
  function canvas(box, width, height, label) {
    box.replaceChildren();
    return draw(box, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  }
  const tip = (node, text) => draw(node, "title", {}, text);
  const percent = (v, digits = 1) => (100 * v).toFixed(digits);
  const signed = (v, digits = 1) => (v >= 0 ? "+" : "−") + Math.abs(100 * v).toFixed(digits);
  const shownP = (p) => (p === null ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));
  const short = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
  function ticks(low, high, about) {
    const raw = (high - low) / about, base = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * base).find((s) => s >= raw);
    const out = [];
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) out.push(Math.abs(v) < 1e-9 * step ? 0 : v);
    return out;
  }
  const trimmed = (v) => String(+v.toPrecision(6)).replace("-", "−");

  // -- sorting ------------------------------------------------------------------------------------------------------
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells], body = table.tBodies[0];
    const original = [...body.rows];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      const cycle = numeric ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
      const next = cycle[(cycle.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
      heads.forEach((h) => h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      const key = (row) => row.cells[column].dataset.sort;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");  // gaps last, whichever way
        const order = numeric ? x - y : x.localeCompare(y);
        return next === "ascending" ? order : -order;
      };
      body.append(...(next === "none" ? original : [...original].sort(compare)));
    }));
  }
  for (const box of document.querySelectorAll("input[data-hide]"))
    box.addEventListener("change", () => box.closest("section").classList.toggle(`hide-${box.dataset.hide}`, !box.checked));

  // -- provenance ---------------------------------------------------------------------------------------------------
  const dialog = document.getElementById("provenance");
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  function facts(object) {
    const list = make("dl"), nested = [];
    for (const [key, value] of Object.entries(object)) {
      if (value !== null && typeof value === "object" && !Array.isArray(value)) nested.push([key, value]);
      else list.append(make("dt", {}, key), make("dd", {}, value === null ? "–" : Array.isArray(value) ? JSON.stringify(value) : String(value)));
    }
    const all = make("div", {}, list);
    for (const [key, value] of nested) all.append(fold(key, facts(value)));
    return all;
  }
  function fold(title, content, open = false) {
    const node = make("details", {}, make("summary", {}, title), content);
    node.open = open;
    return node;
  }
  function grid(heads, rows) {
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", {}, h)))));
    table.append(make("tbody", {}, ...rows.map((r) => make("tr", {}, ...r.map((c) => make("td", {}, c))))));
    return table;
  }
  function cellBody(data, cell) {
    const body = [make("h3", {}, cell.benchmark ? `${cell.row} on ${cell.benchmark}` : cell.row)];
    if (cell.result) {
      const r = cell.result;
      const spread = r.sd === null ? "" : ` ± ${percent(r.sd, 2)} over ${r.over} seeds`;
      const interval = r.low === null ? "" : `, 95 % interval ${percent(r.low, 2)} to ${percent(r.high, 2)}`;
      body.push(make("p", {}, `${percent(r.value, 2)} %${spread}${interval}`));
    } else if (cell.seeds) body.push(make("p", {}, "Not computed."));
    if (cell.published && cell.published.length)
      body.push(make("h4", {}, "Published"), grid(["value", "source", "convention", "note"],
        cell.published.map((p) => [p.value.toFixed(1), p.source, p.convention, p.note || "–"])));
    const done = (cell.seeds || []).filter((s) => s.status === "done");
    if (done.length)
      body.push(make("h4", {}, "Measured"), grid(["seed", "mIoU, classes with ground truth", "mIoU, union", "images", "protocol", "hardware"],
        done.map((s) => [s.seed, percent(s.metrics.miou_gt, 3), percent(s.metrics.miou_union, 3), s.metrics.num_images, s.metrics.protocol_digest, s.metrics.hardware].map(String))));
    for (const seed of cell.seeds || []) {
      const run = data.runs[seed.run];
      if (!run && seed.status !== "done") continue;
      const inside = make("div");
      if (run) {
        const { facts: address, ...rest } = run;
        if (address)
          inside.append(facts({
            "code digest": address.code, data: address.data ?? "none (not trained)", created: rest.created, command: rest.command,
            hardware: rest.hardware ? `${rest.hardware.label} (${rest.hardware.cpu}, ${rest.hardware.memory_gib} GiB)` : null,
            commit: rest.git ? rest.git.commit + (rest.git.dirty ? " (with local changes)" : "") : null,
            options: address.options, schedule: address.train ?? {}, tower: address.tower,
          }));
        if (rest.packages) inside.append(fold("versions", facts({ repro: rest.repro, python: rest.python, ...rest.packages })));
      }
      if (seed.status === "done") inside.append(fold("evaluation", facts(seed.metrics)));
      body.push(fold(`run ${seed.run}`, inside, done.length === 1));
    }
    if (cell.cost) body.push(make("h4", {}, "Measured"), facts(cell.cost));
    if (cell.timing) body.push(fold("timing", facts(cell.timing)));
    return body;
  }
  for (const button of document.querySelectorAll("button.cell"))
    button.addEventListener("click", () => {
      const data = DATA[button.closest("section").dataset.table];
      dialog.querySelector(".body").replaceChildren(...cellBody(data, data.cells[button.dataset.cell]));
      dialog.showModal();
      dialog.scrollTop = 0;
    });

  // -- charts -------------------------------------------------------------------------------------------------------
  const colour = (data, row) => `var(--c${data.rows.findIndex((r) => r.id === row) % COLOURS})`;
  const named = (data, row) => {
    const own = data.rows.find((r) => r.id === row);
    return data.rows.filter((r) => r.title === own.title).length > 1 ? own.label : own.title;
  };
  function difference(data, a, b, benchmark) {
    for (const pair of data.pairs) {
      const d = pair.differences[benchmark];
      if (!d) continue;
      if (pair.a === a && pair.b === b) return d;
      if (pair.a === b && pair.b === a) return { ...d, value: -d.value, low: -d.high, high: -d.low };
    }
    return null;
  }
  function options(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
    if (chosen !== null && chosen !== undefined) select.value = chosen;
  }

  function forest(data, panel) {
    const box = panel.querySelector(".canvas"), baseline = panel.querySelector("[data-control=baseline]").value;
    const rows = data.finished.filter((r) => r !== baseline);
    const lines = [];
    for (const benchmark of data.benchmarks) {
      const found = rows.map((r) => [r, difference(data, r, baseline, benchmark)]).filter(([, d]) => d && d.value !== null);
      if (found.length) lines.push({ head: benchmark }, ...found.map(([row, d]) => ({ row, d, benchmark })));
    }
    if (!lines.length) { box.replaceChildren(make("p", { class: "key" }, "No two rows were evaluated on the same images yet.")); return; }
    const values = lines.filter((l) => l.d).flatMap((l) => [l.d.low, l.d.high, l.d.value]).filter((v) => v !== null).map((v) => 100 * v);
    let low = Math.min(0, ...values), high = Math.max(0, ...values);
    const margin = 0.06 * (high - low || 1); low -= margin; high += margin;
    const W = 600, left = 150, right = 150, step = 19, H = lines.length * step + 34;
    const x = (v) => left + ((v - low) / (high - low)) * (W - left - right);
    const svg = canvas(box, W, H, "Paired differences with intervals");
    for (const t of ticks(low, high, 6)) {
      draw(svg, "line", { x1: x(t), x2: x(t), y1: 6, y2: H - 24, class: t === 0 ? "axis" : "grid" });
      draw(svg, "text", { x: x(t), y: H - 9, "text-anchor": "middle", class: "soft" }, trimmed(t));
    }
    lines.forEach((line, i) => {
      const y = 14 + i * step;
      if (line.head) { draw(svg, "text", { x: 0, y: y + 4, "font-weight": 600 }, line.head); return; }
      const { d, row } = line, c = colour(data, row), sure = d.p_holm !== null && d.p_holm < 0.05;
      draw(svg, "text", { x: 10, y: y + 4, style: `fill:${c}` }, short(named(data, row), 22));
      const group = draw(svg, "g");
      if (d.low !== null) draw(group, "line", { x1: x(100 * d.low), x2: x(100 * d.high), y1: y, y2: y, style: `stroke:${c};stroke-width:2` });
      draw(group, "circle", { cx: x(100 * d.value), cy: y, r: 4.5, style: `stroke:${c};stroke-width:2;fill:${sure ? c : "var(--card)"}` });
      tip(group, `${named(data, row)} − ${named(data, baseline)} on ${line.benchmark}: ${signed(d.value, 2)}, p ${shownP(d.p)}, Holm ${shownP(d.p_holm)}`);
      const interval = d.low === null ? "" : ` [${signed(d.low)}, ${signed(d.high)}]`;
      draw(svg, "text", { x: W - right + 10, y: y + 4, class: "soft" }, `${signed(d.value)}${interval}`);
    });
  }

  function curves(data, panel) {
    const box = panel.querySelector(".canvas");
    if (!data.curves.length) { box.replaceChildren(make("p", { class: "key" }, "No training has logged a loss yet.")); return; }
    const all = data.curves.flatMap((c) => c.points).filter((p) => p[1] > 0);
    const W = 600, H = 320, left = 52, bottom = 34;
    const last = Math.max(...all.map((p) => p[0])), low = Math.log10(Math.min(...all.map((p) => p[1]))), high = Math.log10(Math.max(...all.map((p) => p[1])));
    const x = (i) => left + (i / last) * (W - left - 14), y = (v) => 10 + ((high - Math.log10(v)) / (high - low || 1)) * (H - bottom - 10);
    const svg = canvas(box, W, H, "Training loss over iterations");
    for (let e = Math.floor(low); e <= Math.ceil(high); e++)
      for (const m of [1, 2, 5]) {
        const v = m * 10 ** e, at = Math.log10(v);
        if (at < low || at > high) continue;
        draw(svg, "line", { x1: left, x2: W - 14, y1: y(v), y2: y(v), class: "grid" });
        draw(svg, "text", { x: left - 6, y: y(v) + 4, "text-anchor": "end", class: "soft" }, trimmed(v));
      }
    for (const t of ticks(0, last, 6)) draw(svg, "text", { x: x(t), y: H - bottom + 16, "text-anchor": "middle", class: "soft" }, trimmed(t));
    draw(svg, "line", { x1: left, x2: W - 14, y1: H - bottom, y2: H - bottom, class: "axis" });
    draw(svg, "text", { x: (left + W) / 2, y: H - 4, "text-anchor": "middle", class: "soft" }, "iteration");
    for (const c of data.curves) {
      const path = c.points.filter((p) => p[1] > 0).map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join("");
      const line = draw(svg, "path", { d: path, fill: "none", style: `stroke:${colour(data, c.row)};stroke-width:1.6;stroke-opacity:.85`, "stroke-dasharray": ["", "6 3", "2 2"][c.seed % 3] });
      tip(line, `${named(data, c.row)}, seed ${c.seed}: ${c.points[c.points.length - 1][1]} at ${c.points[c.points.length - 1][0]}`);
    }
    const legend = make("div", { class: "legend" });
    for (const row of new Set(data.curves.map((c) => c.row)))
      legend.append(make("span", {}, make("i", { style: `background:${colour(data, row)}` }), named(data, row)));
    box.append(legend);
  }

  function classes(data, panel) {
    const value = (name) => panel.querySelector(`[data-control=${name}]`).value;
    const found = data.classes[value("benchmark")], box = panel.querySelector(".canvas");
    const own = found.iou[value("row")], other = found.iou[value("other")];
    if (!own) { box.replaceChildren(make("p", { class: "key" }, "Not computed.")); return; }
    let order = own.map((_, i) => i).filter((i) => own[i] !== null && (!value("kind") || found.kinds[i] === value("kind")));
    const keys = {
      difference: (i) => (other && other[i] !== null ? other[i] - own[i] : 0), iou: (i) => -own[i],
      images: (i) => -found.images[i], name: (i) => 0,
    };
    const key = keys[value("order")];
    order.sort((a, b) => key(a) - key(b) || found.names[a].localeCompare(found.names[b]));
    const W = 1200, left = 210, right = 90, step = 20, H = order.length * step + 26;
    const x = (v) => left + v * (W - left - right);
    const svg = canvas(box, W, H, "IoU by class");
    for (const t of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
      draw(svg, "line", { x1: x(t), x2: x(t), y1: 18, y2: H, class: t ? "grid" : "axis" });
      draw(svg, "text", { x: x(t), y: 12, "text-anchor": "middle", class: "soft" }, percent(t, 0));
    }
    order.forEach((i, n) => {
      const y = 22 + n * step, group = draw(svg, "g");
      const label = draw(group, "text", { x: left - 46, y: y + 12, "text-anchor": "end" }, short(found.names[i], 24));
      if (found.kinds[i] === "stuff") label.setAttribute("font-style", "italic");
      draw(group, "text", { x: left - 8, y: y + 12, "text-anchor": "end", class: "soft" }, String(found.images[i]));
      draw(group, "rect", { x: left, y: y + 2, width: Math.max(0.5, x(own[i]) - left), height: other ? 8 : 13, style: `fill:${colour(data, value("row"))}` });
      if (other && other[i] !== null) {
        draw(group, "rect", { x: left, y: y + 10, width: Math.max(0.5, x(other[i]) - left), height: 5, style: `fill:${colour(data, value("other"))};fill-opacity:.55` });
        const d = own[i] - other[i];
        draw(group, "text", { x: W - 4, y: y + 12, "text-anchor": "end", style: Math.abs(d) < 5e-4 ? "" : `fill:${colour(data, d > 0 ? value("row") : value("other"))}` }, signed(d));
        tip(group, `${found.names[i]} (${found.kinds[i]}): ${percent(own[i])} and ${percent(other[i])}`);
      } else tip(group, `${found.names[i]} (${found.kinds[i]}): ${percent(own[i])}`);
    });
  }

  for (const section of document.querySelectorAll("section.table")) {
    const data = DATA[section.dataset.table], panel = (name) => section.querySelector(`[data-chart=${name}]`);
    if (!panel("forest")) continue;
    const rows = data.finished.map((r) => [r, data.rows.find((x) => x.id === r).label]);
    const control = (p, name) => p.querySelector(`[data-control=${name}]`);
    const last = data.finished.filter((r) => r !== data.baseline).at(-1) ?? data.baseline;
    options(control(panel("forest"), "baseline"), rows, data.baseline);
    options(control(panel("classes"), "benchmark"), data.benchmarks.map((b) => [b, b]), data.benchmarks.at(-1));
    options(control(panel("classes"), "row"), rows, last);
    options(control(panel("classes"), "other"), [["", "nothing"], ...rows], last === data.baseline ? "" : data.baseline);
    for (const [name, paint] of Object.entries({ forest, curves, classes })) {
      const own = panel(name);
      own.addEventListener("change", () => paint(data, own));
      paint(data, own);
    }
  }
})();
