// The panel: tabs, the line with what was said last, and what the tabs share. It shows the server's state and decides nothing.

// the traffic light: in plain words, the raw claims one click away
function attested(state) {
  const sign = { green: "●", amber: "◐", red: "○" }[state.light] || "◐";
  const rows = (state.claims || []).map(([name, value]) => h("tr", {}, h("th", {}, name), h("td", {}, value)));
  return h("details", { class: "bo-attested bo-" + state.light, key: "attested" }, h("summary", {}, sign + " " + state.attested), h("p", {}, state.meaning), rows.length ? h("table", {}, ...rows) : null);
}

function render({ model, el }) {
  const listeners = {};
  const removers = [];
  const panel = {
    drafts: {},
    get: (name) => model.get(name),
    send: (action, fields = {}, buffers = []) => model.send({ do: action, ...fields }, undefined, buffers),
    on: (name, callback) => {
      const call = () => callback(model.get(name));
      model.on("change:" + name, call);
      removers.push(() => model.off("change:" + name, call));
    },
    show: (name) => choose(name),
  };
  const makers = { Requests: requestsTab, Datasets: datasetsTab, Activity: activityTab, Exposure: exposureTab, Budget: budgetTab };
  const body = h("div", { class: "bo-body" });
  const bar = h("div", { class: "bo-tabs", role: "tablist" });
  const head = h("div", { class: "bo-head" });
  const said = h("div", { class: "bo-said", role: "status" });
  const pages = {};
  const tabs = {};

  function choose(name) {
    for (const [other, tab] of Object.entries(tabs)) {
      tab.setAttribute("aria-selected", String(other === name));
      if (pages[other]) pages[other].hidden = other !== name;
    }
    if (!pages[name]) {
      pages[name] = h("div", { role: "tabpanel", "aria-label": name }, makers[name](panel));
      body.append(pages[name]);
    }
    panel.send("tab", { tab: name });
  }

  for (const name of Object.keys(makers)) {
    tabs[name] = h("button", { type: "button", role: "tab", key: "tab:" + name, onclick: () => choose(name) }, name);
    bar.append(tabs[name]);
  }
  const count = h("span", { class: "bo-count" });
  tabs.Requests.append(count);

  function drawHead() {
    const state = model.get("session");
    const waiting = model.get("requests").filter((r) => r.state === "pending").length;
    count.textContent = waiting ? String(waiting) : "";
    redraw(head, [h("b", {}, state.identity), " owns data on ", state.endpoint, " ", h("span", { class: "bo-link bo-" + state.state }, state.says), attested(state)]);
  }

  function drawSaid() {
    const s = model.get("said");
    redraw(said, s.text ? h("p", { class: "bo-" + s.how }, s.stop ? button("Stop", () => panel.send(s.stop)) : null, s.stop ? " " : null, s.text, s.code ? h("span", { class: "bo-small" }, " [" + s.code + "]") : null) : null);
  }

  panel.on("session", drawHead);
  panel.on("requests", drawHead);
  panel.on("said", drawSaid);
  panel.on("tab", (name) => tabs[name] && tabs[name].getAttribute("aria-selected") !== "true" && choose(name));
  el.classList.add("bastion-owner");
  el.append(head, bar, said, body);
  drawHead();
  drawSaid();
  choose(model.get("tab"));
  return () => removers.forEach((remove) => remove());
}

export default { render };
