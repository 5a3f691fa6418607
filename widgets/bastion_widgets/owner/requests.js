// Requests: the queue, and all there is to know of the one that is open.

const STATES = {
  pending: "waits for you", approved: "approved", denied: "denied", expired: "expired", withdrawn: "withdrawn",
};

function requestsTab(panel) {
  const list = h("div", { class: "bo-list", role: "listbox", "aria-label": "Access requests" });
  const detail = h("div", { class: "bo-detail" });
  const all = h("input", { type: "checkbox", key: "all", onchange: () => drawList() });
  const node = h("div", {}, h("label", { class: "bo-small" }, all, " also those that are decided"), h("div", { class: "bo-two" }, list, detail));

  function drawList() {
    const found = panel.get("requests").filter((r) => all.checked || r.live);
    const open = panel.get("request").id;
    redraw(
      list,
      found.length
        ? found.map((r) =>
            h(
              "button",
              {
                type: "button", role: "option", key: "open:" + r.id, class: "bo-item" + (r.id === open ? " bo-open" : ""),
                "aria-selected": String(r.id === open), onclick: () => panel.send("open_request", { request: r.id }),
              },
              h("span", { class: "bo-state bo-" + r.state }, r.says),
              h("b", {}, r.requester),
              h("span", { class: "bo-small" }, r.datasets.join(", ") + " · " + when(r.created)),
              h("span", { class: "bo-clip" }, r.reason),
            ),
          )
        : h("p", { class: "bo-empty" }, all.checked ? "Nobody has asked for anything yet." : "Nothing waits for you. New requests appear here by themselves."),
    );
  }

  function drawDetail() {
    const r = panel.get("request");
    redraw(detail, r.id ? whole(panel, r) : h("p", { class: "bo-empty" }, "Open a request to see all there is to know of it."));
  }

  panel.on("requests", drawList);
  panel.on("request", () => { drawList(); drawDetail(); });
  drawList();
  drawDetail();
  return node;
}

function whole(panel, r) {
  return [
    h("h3", {}, r.requester, " asks about ", r.datasets.join(", ")),
    h("p", { class: "bo-reason" }, r.reason),
    h("p", { class: "bo-small" }, r.id, " · filed ", when(r.created), r.expires ? " · ends undecided " + when(r.expires) : ""),
    r.live ? decision(panel, r) : null,
    r.decided_by || r.answer
      ? h("p", {}, h("b", {}, r.says), r.decided_by ? " by " + r.decided_by + ", " + when(r.decided_at) : "", r.answer ? ": “" + r.answer + "”" : "",
          r.until && !r.ended ? " · holds until " + when(r.until) : "", r.ran ? " · ran " + when(r.ran) : "")
      : null,
    section("In plain words", h("p", {}, r.words), r.expressions.length ? lines(r.expressions) : null),
    section("Code", h("pre", {}, r.code)),
    section("Columns", r.columns.length ? grid(["column", "role", "used as"], r.columns.map((c) => [c.name, c.role, c.uses])) : h("p", {}, "none")),
    section("Rules it fails", r.findings.length ? lines(r.findings) : h("p", {}, "none on record")),
    section("For your eyes only", r.findings_private.length ? lines(r.findings_private) : null,
      r.figures.length ? grid(["", ""], r.figures.map((f) => [f.name, f.value]), "bo-figures") : h("p", {}, "no figures")),
    section("Preview", r.preview ? preview(r.preview)
      : [button("Show the first rows", () => panel.send("preview", { request: r.id })), h("span", { class: "bo-small" }, " for you alone; hidden columns stay masked; looking is put on record")]),
    section("What " + r.requester + " asked before", r.past.length
      ? grid(["when", "who", "what", ""], r.past.map((e) => [when(e.time), e.who, e.what, e.text])) : h("p", {}, "nothing of this data")),
    section("As a policy line", lineSuggestions(panel, r)),
  ];
}

/** A day from today, as date fields hold it, in the owner's own time. */
function isoDay(days) {
  const day = new Date();
  day.setDate(day.getDate() + days);
  return [day.getFullYear(), String(day.getMonth() + 1).padStart(2, "0"), String(day.getDate()).padStart(2, "0")].join("-");
}

/** The last second of a day in the owner's own time, in seconds since 1970; 0 for none. */
function endOf(text) {
  const [year, month, day] = text.split("-").map(Number);
  return day ? Math.floor(new Date(year, month - 1, day, 23, 59, 59).getTime() / 1000) : 0;
}

function preview(p) {
  return [grid(p.columns, p.rows), h("p", { class: "bo-small" }, p.says)];
}

function decision(panel, r) {
  const drafts = panel.drafts;
  const word = field("textarea", "word:" + r.id, drafts, { rows: 2, placeholder: "A word to " + r.requester + " (needed to deny)", "aria-label": "A word to the requester" });
  const day = field("input", "day:" + r.id, drafts, { type: "date", min: isoDay(0), max: isoDay(3649), value: isoDay(30), "aria-label": "last day of the approval" });
  const decide = (how, more = {}) => panel.send("decide", { request: r.id, how, reason: word.value, ...more });
  const rows = [];
  if (r.can.includes("decide")) {
    rows.push(
      h("div", { class: "bo-row" },
        button("Approve once", () => decide("approve"), { class: "bo-go", title: "This query, once, within the server's default time" }),
        button("Approve until", () => decide("approve", { until: endOf(day.value) }), { title: "This very query, as often as they like, to the end of that day" }), day,
        button("Run only", () => decide("approve", { run_only: true }), { title: "It may run; the result is sealed until you let it be read" }),
        button("Deny", () => decide("deny"), { class: "bo-danger" })),
    );
  }
  if (r.can.includes("reading")) {
    rows.push(
      h("div", { class: "bo-row" },
        button("Let it be read", () => decide("read"), { class: "bo-go" }),
        button("Never let it be read", () => decide("withhold"), { class: "bo-danger", title: "The result is thrown away" })),
    );
  }
  if (r.can.includes("revoke")) rows.push(h("div", { class: "bo-row" }, sure("Revoke", "The approval ends at once.", () => decide("revoke"))));
  return h("div", { class: "bo-decide" }, word, rows, h("p", { class: "bo-small" }, "A decision is signed with your key, and goes to the requester at once."));
}

function lineSuggestions(panel, r) {
  if (!r.suggestions) return button("Suggest lines", () => panel.send("suggest", { request: r.id }));
  if (!r.suggestions.length) return h("p", {}, "No line of a policy says this better than a decision.");
  return r.suggestions.map((s) =>
    h("div", { class: "bo-suggestion" },
      h("p", {}, h("b", {}, s.dataset + ": "), s.words, s.warning ? h("span", { class: "bo-warning" }, " " + s.warning) : null),
      h("pre", {}, s.line),
      h("div", { class: "bo-row" },
        button("Try it on past queries", () => panel.send("try_suggestion", { request: r.id, number: s.number }), { key: "try:" + s.number }),
        button("Open in the editor", () => panel.send("edit_suggestion", { request: r.id, number: s.number }), { key: "edit:" + s.number })),
      s.trial ? trial(s.trial) : null),
  );
}
