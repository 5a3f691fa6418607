// Datasets: cards, the policy editor with its live check, roles, access, upload, deletion.

const PART = 1 << 20;

function datasetsTab(panel) {
  const list = h("div", { class: "bo-list", role: "listbox", "aria-label": "Datasets" });
  const detail = h("div", { class: "bo-detail" });
  const regions = { card: h("div"), failed: h("div"), held: h("div"), editor: h("div"), check: h("div", { class: "bo-check" }), trial: h("div"), end: h("div") };
  const add = h("div", { class: "bo-upload" });

  function drawList() {
    const open = panel.get("dataset").id;
    const found = panel.get("datasets");
    redraw(
      list,
      found.length
        ? found.map((d) =>
            h(
              "button",
              {
                type: "button", role: "option", key: "dataset:" + d.id, class: "bo-item" + (d.id === open ? " bo-open" : ""),
                "aria-selected": String(d.id === open), onclick: () => panel.send("open_dataset", { dataset: d.id }),
              },
              h("b", {}, d.name),
              h("span", { class: "bo-small" }, d.columns + " columns, version " + d.version + (d.kind === "table" ? "" : ", saved query")),
              d.warnings ? h("span", { class: "bo-warning" }, d.warnings + " to look at") : null,
            ),
          )
        : h("p", { class: "bo-empty" }, "You have no datasets yet."),
    );
  }

  function drawDetail() {
    const d = panel.get("dataset");
    if (!d.id) return redraw(detail, h("p", { class: "bo-empty" }, "Open a dataset, or upload one."));
    if (detail.firstChild !== regions.card) detail.replaceChildren(...Object.values(regions));
    redraw(regions.card, card(panel, d));
    drawFailed();
    drawHeld();
    redraw(regions.editor, d.kind === "table" ? editor(panel, d) : null);
    redraw(regions.end, remove(panel, d));
    drawCheck();
    drawTrial();
  }

  function drawFailed() {
    const d = panel.get("dataset"), f = panel.get("failures");
    redraw(regions.failed, f.dataset === d.id && f.people.length ? failed(panel, d, f) : null);
  }

  function drawHeld() {
    const d = panel.get("dataset");
    const found = d.id ? panel.get("requests").filter((r) => r.live && r.state === "approved" && r.datasets.includes(d.name)) : [];
    redraw(regions.held, d.id ? section("Approvals in force", found.length
      ? found.map((r) => h("div", { class: "bo-row" }, r.requester + ": " + r.reason,
          sure("Revoke", "It ends at once.", () => panel.send("decide", { request: r.id, how: "revoke", reason: "" }))))
      : h("p", {}, "none")) : null);
  }

  function drawCheck() {
    const d = panel.get("dataset"), c = panel.get("check");
    redraw(regions.check, c.dataset === d.id && d.kind === "table" ? checked(c) : null);
  }

  function drawTrial() {
    const d = panel.get("dataset"), found = panel.get("trial");
    redraw(regions.trial, found.dataset === d.id ? trial(found) : null);
  }

  panel.on("datasets", drawList);
  panel.on("dataset", () => { drawList(); drawDetail(); });
  panel.on("failures", drawFailed);
  panel.on("check", drawCheck);
  panel.on("trial", drawTrial);
  panel.on("upload", () => redraw(add, upload(panel)));
  panel.on("requests", drawHeld);
  redraw(add, upload(panel));
  drawList();
  drawDetail();
  return h("div", { class: "bo-two" }, h("div", {}, list, add), detail);
}

function card(panel, d) {
  const drafts = panel.drafts;
  const allow = field("input", "allow:" + d.id, drafts, { value: d.allow.join(", "), "aria-label": "who may use it" });
  return [
    h("h3", {}, d.name),
    h("p", { class: "bo-small" }, "version ", String(d.version), " · privacy unit: ", d.unit, d.declared ? "" : " (not declared)", " · since ", when(d.created)),
    d.says.length ? lines(d.says, "bo-warning") : null,
    d.sealed ? sealed(panel, d) : null,
    section("Columns and roles", roles(panel, d)),
    section("Who may use it",
      h("div", { class: "bo-row" }, allow, button("Change access", () => panel.send("set_allow", { dataset: d.id, names: allow.value }))),
      h("p", { class: "bo-small" }, "Names of keys, separated by commas; * for everyone with a key; nothing for nobody but you.")),
  ];
}

/** Of whom failed queries count: after 2 in a day, and 8 in all, those that could fail wait for the owner. */
function failed(panel, d, f) {
  return section("Failed queries that count",
    f.people.map((p) => h("div", { class: "bo-row" }, p.name + (p.members.length ? " (" + p.members.join(", ") + ")" : "") + ": " + p.says,
      sure("Clear", f.means, () => panel.send("clear_failures", { dataset: d.id, who: p.name, failed: p.failed })))),
    h("p", { class: "bo-small" }, "Failed or stopped, of all tables of these people. After 2 within a day, and 8 in all, queries that could fail wait for you."));
}

/** A table whose key its owner keeps: whether this server has it now. */
function sealed(panel, d) {
  const open = d.sealed === "open";
  return section("Key", h("div", { class: "bo-row" },
    h("span", {}, open ? "open: this server has the key, in memory alone, until it stops" : "locked: nobody can use it until you release its key"),
    open ? button("Take the key back", () => panel.send("revoke_key", { dataset: d.id })) : button("Release the key", () => panel.send("release_key", { dataset: d.id }))));
}

function remove(panel, d) {
  const name = field("input", "delete:" + d.id, panel.drafts, { placeholder: d.name, "aria-label": "the dataset's name", class: "bo-name" });
  return section("Delete", h("div", { class: "bo-row" }, name,
    button("Delete this dataset", () => panel.send("delete", { dataset: d.id, name: name.value }), { class: "bo-danger" }),
    h("span", { class: "bo-small" }, "type its name first; its rows are gone for good")));
}

function roles(panel, d) {
  if (d.kind !== "table") return grid(["column", "type", "role"], d.roles.map((c) => [c.name, c.dtype, c.says]));
  return [
    grid(["column", "type", "role", "declared with it", ""], d.roles.map((c, number) => role(panel, d, c, number))),
    h("p", { class: "bo-small" }, "The values of a quasi or public column that are listed may be named to everybody, also where few people have them. Bounds of a measure: wide enough for whoever may come, for they are told."),
  ];
}

/** One column's role, with what goes with it: bounds of a measure, values of a quasi or public column that may be named. */
function role(panel, d, c, number) {
  const id = d.id + ":" + number;
  // what is typed belongs to the role that the server has: with another one the fields begin anew
  const typed = (name, tag, props) => field(tag, name + ":" + id + ":" + c.says, panel.drafts, { ...props, "aria-label": props.title + " of " + c.name });
  const select = h("select", { key: "role:" + id, "aria-label": "role of " + c.name },
    d.kinds.map((kind) => h("option", { value: kind, selected: kind === (panel.drafts["role:" + id] ?? c.role) }, kind)));
  const lower = typed("lower", "input", { type: "number", step: "any", class: "bo-bound", title: "lowest value", placeholder: "lowest", value: c.lower });
  const upper = typed("upper", "input", { type: "number", step: "any", class: "bo-bound", title: "highest value", placeholder: "highest", value: c.upper });
  const domain = typed("domain", "textarea", { rows: Math.min(6, 1 + c.domain.length), class: "bo-values", title: "values that may be named", placeholder: "values, one a line", value: c.domain.join("\n") });
  const varies = h("input", { type: "checkbox", key: "varies:" + id, checked: c.varies, "aria-label": c.name + " differs in each row of a person" });
  const more = h("div", { class: "bo-row" });
  const change = button("Change", () => {
    delete panel.drafts["role:" + id];
    const kind = select.value, bounds = kind === "measure", named = kind === "quasi" || kind === "public";
    panel.send("set_role", {
      dataset: d.id, column: String(number), role: kind, lower: bounds ? lower.value : "", upper: bounds ? upper.value : "",
      domain: named ? domain.value : "", varies: (bounds || kind === "sensitive") && varies.checked,
    });
  }, { key: "set:" + id });
  const arrange = () => {
    const kind = select.value, secret = kind === "measure" || kind === "sensitive";
    more.replaceChildren();
    put(more, [
      kind === "measure" ? [lower, "to", upper] : null,
      kind === "quasi" || kind === "public" ? domain : null,
      secret ? h("label", { class: "bo-small", title: "An amount of each purchase does; a pay, an age or a weight does not." }, varies, " differs in each row of a person") : null,
    ]);
  };
  const compare = () => {
    const same = select.value === c.role && lower.value === c.lower && upper.value === c.upper && domain.value === c.domain.join("\n") && varies.checked === c.varies;
    change.disabled = same && !c.inferred;
    change.textContent = same ? "Confirm" : "Change";
  };
  select.addEventListener("change", () => { panel.drafts["role:" + id] = select.value; arrange(); compare(); });
  for (const part of [lower, upper, domain, varies]) part.addEventListener("input", compare);
  arrange();
  compare();
  return [c.name, c.dtype, select, more, [change, c.inferred ? h("span", { class: "bo-warning" }, " a guess") : null]];
}

function editor(panel, d) {
  const key = "policy:" + d.id;
  if (d.draft !== undefined && panel.drafts["from:" + d.id] !== d.draft) {
    panel.drafts["from:" + d.id] = d.draft;
    panel.drafts[key] = d.draft;
  }
  if (panel.drafts["base:" + d.id] !== d.policy) {
    if (panel.drafts["base:" + d.id] !== undefined) delete panel.drafts[key];
    panel.drafts["base:" + d.id] = d.policy;
  }
  let timer;
  const text = field("textarea", key, panel.drafts, {
    value: d.policy, rows: Math.min(24, 2 + (panel.drafts[key] ?? d.policy).split("\n").length), class: "bo-code", spellcheck: false, "aria-label": "policy",
    oninput: () => { clearTimeout(timer); timer = setTimeout(() => panel.send("check", { dataset: d.id, text: text.value }), 250); },
  });
  return section("Policy", text,
    h("div", { class: "bo-row" },
      button("Try on past queries", () => panel.send("try", { dataset: d.id, text: text.value })),
      button("Save the policy", () => panel.send("set_policy", { dataset: d.id, text: text.value }), { class: "bo-go" }),
      button("As it is on the server", () => { delete panel.drafts[key]; delete panel.drafts["from:" + d.id]; panel.send("open_dataset", { dataset: d.id }); })),
    h("p", { class: "bo-small" }, "Saving is signed with your key. It ends requests and approvals that were about the old policy."));
}

function checked(c) {
  if (c.error) return h("div", { class: "bo-error bo-box" }, h("p", {}, c.line ? h("b", {}, "line " + c.line + ": ") : null, c.error));
  return [
    h("p", { class: "bo-ok" }, "This policy is valid."),
    c.warnings.length ? lines(c.warnings, "bo-warning") : null,
    section("In words", lines(c.words)),
    section("What would this deny?", grid(["a usual query", "", "why"],
      c.samples.map((s) => [
        h("span", { title: s.code }, s.what),
        h("span", { class: "bo-out-" + s.outcome }, s.says, s.was ? h("b", {}, " (now: " + s.was + ")") : null),
        s.reason,
      ]))),
  ];
}

function trial(found) {
  return h("div", { class: "bo-trial" }, h("h4", {}, "On past queries"), h("p", {}, h("b", {}, found.says)),
    found.queries.length
      ? grid(["who", "query", "became", "now", "then", "why"], found.queries.map((q) => [
          q.who + (q.times > 1 ? " (" + q.times + " times)" : ""), q.words, q.ended, q.before, q.changed ? h("b", {}, q.after) : q.after, q.reason,
        ]))
      : null,
    h("p", { class: "bo-small" }, found.note));
}

function upload(panel) {
  const u = panel.get("upload"), drafts = panel.drafts;
  if (!u.name) {
    return h("label", {}, "Upload a file: ", h("input", { type: "file", key: "file", accept: ".csv,.tsv,.gz,.parquet,.arrow,.feather,.ipc,.arrows", onchange: (event) => read(panel, event.target.files[0]) }));
  }
  if (!u.columns) return h("p", {}, h("b", {}, u.name), " ", u.says, " ", button("Cancel", () => panel.send("upload_cancel")));
  const name = field("input", "up:name", drafts, { value: u.name.split(".")[0], "aria-label": "name of the dataset" });
  const unit = h("select", { key: "up:unit", "aria-label": "privacy unit" }, h("option", { value: "" }, "not declared"), h("option", { value: "row" }, "every row is someone of their own"),
    u.columns.map((c, number) => h("option", { value: String(number) }, c.name)));
  const hide = u.columns.map((c) => h("input", { type: "checkbox", "aria-label": "hide " + c.name }));
  const policy = field("textarea", "up:policy", drafts, { rows: 3, class: "bo-code", placeholder: "Policy in TOML; empty: numbers about at least 10 people, the rest waits for you", "aria-label": "policy of the new dataset" });
  const replace = h("input", { type: "checkbox", key: "up:replace" });
  return [
    h("p", {}, h("b", {}, u.name), ": " + u.rows + " rows"),
    u.doubts.length ? lines(u.doubts, "bo-warning") : null,
    h("div", { class: "bo-row" }, h("label", {}, "name ", name)),
    h("div", { class: "bo-row" }, h("label", {}, "whom a row is about ", unit)),
    grid(["hide", "column", "type"], u.columns.map((c, number) => [hide[number], c.name, c.dtype])),
    policy,
    h("div", { class: "bo-row" }, h("label", {}, replace, " a new version of the dataset of this name")),
    h("div", { class: "bo-row" },
      button("Upload", () => panel.send("upload_send", {
        name: name.value, unit: unit.value, hidden: hide.flatMap((box, number) => (box.checked ? [number] : [])), policy: policy.value, replace: replace.checked,
      }), { class: "bo-go" }),
      button("Cancel", () => panel.send("upload_cancel"))),
  ];
}

/** Send a file to the kernel, part by part; it goes on to the server from there, signed. */
async function read(panel, file) {
  if (!file) return;
  delete panel.drafts["up:name"];
  delete panel.drafts["up:policy"];
  const run = String(Math.random());
  for (let seq = 0, at = 0; seq === 0 || at < file.size; seq += 1, at += PART) {
    const part = await file.slice(at, at + PART).arrayBuffer();
    panel.send("upload_part", { name: file.name, seq, size: file.size, run }, [part]);
  }
}
