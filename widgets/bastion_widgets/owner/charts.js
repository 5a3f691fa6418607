// Figures as plain SVG: exposure, budgets, the timeline. Each has its numbers in a table beside it, and a title for readers.

const COLOURS = { answers: "#2563eb", approved: "#8250df", unsafe: "#b42318", denied: "#9ca3af", spent: "#b45309", left: "#d1d5db" };

/** Bars over a common scale. rows: {label, parts: [[name, value]…], text}. most: of the scale. */
function bars(title, rows, most) {
  const left = 210, wide = 380, words = 400, high = 22;
  const picture = svg("svg", { viewBox: `0 0 ${left + wide + words} ${rows.length * high + 8}`, width: left + wide + words, role: "img", "aria-label": title }, svg("title", {}, title));
  rows.forEach((row, number) => {
    const y = number * high + 4;
    const label = row.label.length > 32 ? row.label.slice(0, 31) + "…" : row.label;
    picture.append(svg("text", { x: left - 8, y: y + 14, "text-anchor": "end" }, label));
    let x = left;
    for (const [name, value] of row.parts) {
      const width = most > 0 ? (Math.max(0, value) / most) * wide : 0;
      if (width > 0) picture.append(svg("rect", { x, y: y + 2, width: Math.max(1, width), height: high - 7, rx: 2, fill: COLOURS[name] || "#2563eb" }, svg("title", {}, name + ": " + short(value))));
      x += width;
    }
    picture.append(svg("text", { x: Math.min(x, left + wide) + 6, y: y + 14 }, row.text));
  });
  return picture;
}

const legend = (names) => h("p", { class: "bo-small" }, names.map((name) => [h("span", { class: "bo-key bo-key-" + name }), " " + name + "  "]));
const short = (value) => (value === null || value === undefined ? "–" : Number.isInteger(value) ? String(value) : String(Number(Number(value).toPrecision(3))));
const percent = (share) => (share === null || share === undefined ? "–" : (100 * share).toPrecision(3) + " %");

function exposureTab(panel) {
  const node = h("div");
  function draw() {
    const all = panel.get("exposure");
    redraw(node, [
      button("Refresh", () => panel.send("figures")),
      all.length ? all.map(exposed) : h("p", { class: "bo-empty" }, "Nothing to show yet."),
    ]);
  }
  panel.on("exposure", draw);
  draw();
  return node;
}

function exposed(e) {
  const audience = (a) => a.name + (a.members.length ? " (" + a.members.join(", ") + ")" : "");
  const most = Math.max(1, ...e.audiences.map((a) => a.answers + a.denied));
  const columns = {};
  for (const c of e.columns) {
    const found = (columns[c.column] ||= { answers: 0, approved: 0, unsafe: 0, coverage: 0, smallest: 0 });
    found.answers += c.answers;
    found.approved += c.approved;
    found.unsafe += c.unsafe;
    found.coverage = Math.max(found.coverage, c.coverage || 0);
    found.smallest = found.smallest && c.smallest ? Math.min(found.smallest, c.smallest) : found.smallest || c.smallest;
  }
  const parts = (c) => [["answers", c.answers - c.approved - c.unsafe], ["approved", c.approved], ["unsafe", c.unsafe]];
  const width = Math.max(1, ...Object.values(columns).map((c) => c.answers));
  if (!e.audiences.length) return section(e.name + ", " + e.people + " people", h("p", {}, "Nothing was released yet."));
  return section(
    e.name + ", " + e.people + " people",
    h("h5", {}, "Answers and denials, by who asked"),
    bars("answers and denials of " + e.name, e.audiences.map((a) => ({
      label: audience(a), parts: [...parts(a), ["denied", a.denied]],
      text: a.answers + " answered, " + a.denied + " denied" + (a.failed ? ", " + a.failed + " failed" : "") + (a.coverage ? ", about " + percent(a.coverage) + " of all people" : ""),
    })), most),
    legend(["answers", "approved", "unsafe", "denied"]),
    Object.keys(columns).length ? h("h5", {}, "Answers that a column went into") : null,
    Object.keys(columns).length ? bars("answers by column of " + e.name, Object.entries(columns).map(([name, c]) => ({
      label: name, parts: parts(c), text: c.answers + (c.answers === 1 ? " answer" : " answers") + (c.coverage ? ", of up to " + percent(c.coverage) + " of all people" : "") + (c.smallest ? ", smallest group " + c.smallest : ""),
    })), width) : null,
    e.untouched.length ? h("p", {}, "Nothing was released of " + e.untouched.join(", ") + ".") : null,
    h("details", {}, h("summary", {}, "all numbers"), grid(["audience", "column", "role", "released", "answers", "cells", "smallest group", "people covered", "last"],
      e.columns.map((c) => [c.audience, c.column, c.role, c.uses, String(c.answers), c.cells ? String(c.cells) : "–", c.smallest ? String(c.smallest) : "–", percent(c.coverage), when(c.last)]))),
  );
}

function budgetTab(panel) {
  const node = h("div");
  function draw() {
    const budgets = panel.get("budgets");
    const ranks = panel.get("exposure").flatMap((e) => e.audiences.filter((a) => a.rank !== null && a.rank_limit).map((a) => ({ ...a, dataset: e.name })));
    const spenders = panel.get("exposure").flatMap((e) => e.audiences.filter((a) => a.epsilon !== null).map((a) => ({ ...a, dataset: e.name })));
    redraw(node, [
      button("Refresh", () => panel.send("figures")),
      section("Budgets for answers with noise", budgets.length
        ? budgets.map((b) => [
            h("p", {}, h("b", {}, b.datasets.join(", ")), ": epsilon " + short(b.spent) + " of " + short(b.epsilon) + " spent in " + b.answers + (b.answers === 1 ? " answer" : " answers") + " (delta " + short(b.delta) + ")"),
            bars("epsilon of " + b.datasets.join(", "), [{ label: "epsilon", parts: [["spent", b.spent], ["left", Math.max(0, b.epsilon - b.spent)]], text: "the largest answer that still fits: " + short(b.left) }], b.epsilon),
            b.void ? h("p", { class: "bo-warning" }, "The stated epsilon no longer holds: " + b.void) : null,
          ])
        : h("p", {}, "None of your policies adds noise.")),
      spenders.length ? [h("h5", {}, "Who spent it"), bars("epsilon by audience", spenders.map((a) => ({ label: a.dataset + ": " + a.name, parts: [["spent", a.epsilon]], text: short(a.epsilon) })), Math.max(...spenders.map((a) => a.epsilon), 1e-9))] : null,
      section("Room in the audit of exact answers", ranks.length
        ? [
            h("p", { class: "bo-small" }, "Independent numbers about people that were released, of the most that the linear audit lets out to one audience."),
            ranks.map((a) => bars("rank of " + a.name, [{ label: a.dataset + ": " + a.name, parts: [["spent", a.rank], ["left", Math.max(0, a.rank_limit - a.rank)]], text: a.rank + " of " + Math.round(a.rank_limit) }], Math.max(a.rank_limit, a.rank))),
          ]
        : h("p", {}, "Nothing was released that needs it yet.")),
    ]);
  }
  panel.on("budgets", draw);
  panel.on("exposure", draw);
  draw();
  return node;
}

/** What happened when: records per step of time, answers, denials and the rest apart. */
function timeline(rows) {
  const first = rows[0].time, last = rows[rows.length - 1].time, steps = 40;
  const size = Math.max(1, (last - first) / steps);
  const bins = Array.from({ length: Math.floor((last - first) / size) + 1 }, () => ({ answers: 0, approved: 0, denied: 0, left: 0 }));
  for (const r of rows) {
    const bin = bins[Math.min(bins.length - 1, Math.floor((r.time - first) / size))];
    if (r.kind === "grant_used") bin.approved += 1;
    else if (r.kind === "outcome" && r.what.startsWith("released")) bin.answers += 1;
    else if (r.kind === "outcome") bin.denied += 1;
    else bin.left += 1;
  }
  const most = Math.max(1, ...bins.map((bin) => Object.values(bin).reduce((a, b) => a + b)));
  const width = 760 / Math.max(bins.length, 1), high = 90;
  const picture = svg("svg", { viewBox: "0 0 780 112", width: 780, role: "img", "aria-label": "activity over time" }, svg("title", {}, "activity over time"));
  bins.forEach((bin, number) => {
    let y = high;
    for (const [name, value] of Object.entries(bin)) {
      const height = (value / most) * (high - 8);
      y -= height;
      if (value) picture.append(svg("rect", { x: 10 + number * width, y, width: Math.max(1, Math.min(width - 1, 40)), height, fill: COLOURS[name] }, svg("title", {}, `${when(first + number * size)}: ${value} ${name === "left" ? "other records" : name}`)));
    }
  });
  picture.append(svg("line", { x1: 10, x2: 770, y1: high, y2: high, stroke: "currentColor", "stroke-opacity": 0.4 }));
  picture.append(svg("text", { x: 10, y: 106 }, when(first)), svg("text", { x: 770, y: 106, "text-anchor": "end" }, when(last)));
  return [picture, h("p", { class: "bo-small" }, ["answers", "approved", "denied"].map((name) => [h("span", { class: "bo-key bo-key-" + name }), " " + name + "  "]), h("span", { class: "bo-key bo-key-left" }), " other records")];
}
