// Activity: the audit log with filters, a timeline of it, and its verification.

function activityTab(panel) {
  const drafts = panel.drafts;
  const who = field("input", "audit:who", drafts, { placeholder: "anybody", "aria-label": "who" });
  const kind = h("select", { key: "audit:kind", "aria-label": "kind" });
  const dataset = h("select", { key: "audit:dataset", "aria-label": "dataset" });
  const since = h("input", { type: "datetime-local", key: "audit:since", "aria-label": "from" });
  const until = h("input", { type: "datetime-local", key: "audit:until", "aria-label": "until" });
  const red = h("input", { type: "checkbox", key: "audit:red" });
  const verdict = h("span", {});
  const chart = h("div");
  const found = h("div");
  const seconds = (field) => (field.value ? new Date(field.value).getTime() / 1000 : 0);
  const ask = (below = 0) =>
    panel.send("records", { who: who.value, kind: kind.value, dataset: dataset.value, since: seconds(since), until: seconds(until), red: red.checked, below });

  function options(select, values, first) {
    const held = select.value;
    select.replaceChildren(h("option", { value: "" }, first), ...values.map(([value, text]) => h("option", { value }, text)));
    select.value = values.some(([value]) => value === held) ? held : "";
  }

  function draw() {
    const a = panel.get("activity");
    options(kind, (a.kinds || []).map((k) => [k.kind, k.says]), "everything");
    options(dataset, panel.get("datasets").map((d) => [d.id, d.name]), "all datasets");
    const rows = a.records || [];
    redraw(chart, rows.length ? timeline(rows) : null);
    redraw(found, rows.length
      ? [
          h("div", { class: "bo-scroll" }, h("table", { class: "bo-log" },
            h("thead", {}, h("tr", {}, ["#", "when", "who", "what", "dataset", "plan"].map((text) => h("th", { scope: "col" }, text)))),
            h("tbody", {}, [...rows].reverse().map((r) => h("tr", { class: r.red ? "bo-red" : "" },
              [String(r.index), when(r.time, true), r.who, [r.red ? "look at this: " : "", r.kind + ": " + r.what, r.words ? h("div", { class: "bo-small" }, r.words) : null], r.dataset, r.plan].map((cell) => h("td", {}, cell))))))),
          a.more ? button("Older records", () => ask(rows[0].index)) : h("p", { class: "bo-small" }, "These are all."),
        ]
      : h("p", { class: "bo-empty" }, "No records match."));
  }

  function drawVerified() {
    const v = panel.get("verified");
    redraw(verdict, v.size === undefined ? null : v.ok
      ? h("span", { class: "bo-ok" }, "The log is whole: " + v.size + " records, root " + v.root.slice(0, 16) + "…")
      : h("span", { class: "bo-warning" }, "The log is NOT whole: " + v.problem));
  }

  panel.on("activity", draw);
  panel.on("datasets", draw);
  panel.on("verified", drawVerified);
  draw();
  drawVerified();
  return h("div", {},
    h("div", { class: "bo-row" },
      h("label", {}, "who ", who), h("label", {}, "kind ", kind), h("label", {}, "dataset ", dataset), h("label", {}, "from ", since),
      h("label", {}, "until ", until), h("label", {}, red, " only those to look at"), button("Show", () => ask())),
    h("div", { class: "bo-row" }, button("Verify the log", () => panel.send("verify")), verdict),
    chart, found);
}
