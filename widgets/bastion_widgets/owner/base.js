// What all tabs are made of. Strings reach the page as text nodes and property values only: never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. props: properties, "on…" listeners, class, data (for tests and focus); children: nodes, strings, lists. */
function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name === "key") node.dataset.key = value;
    else if (name.startsWith("aria-") || name === "role" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  put(node, children);
  return node;
}

function put(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  put(node, children);
  return node;
}

/** Draw a region anew; what the reader typed there, its focus and what was opened stay. */
function redraw(region, children, drafts) {
  const root = region.getRootNode();
  const active = root.activeElement;
  const held = region.contains(active) ? active.dataset.key : undefined;
  const place = held && "selectionStart" in active ? [active.selectionStart, active.selectionEnd] : undefined;
  region.replaceChildren();
  put(region, [children]);
  if (!held) return;
  const again = [...region.querySelectorAll("[data-key]")].find((node) => node.dataset.key === held);
  if (!again) return;
  // a button that has done its work is disabled: the keyboard goes on in its row
  const next = again.disabled ? (again.closest("tr") ?? again).querySelector("select") ?? again : again;
  next.focus({ preventScroll: true });
  try {
    if (place && place[0] !== null) again.setSelectionRange(...place);
  } catch {
    /* a field without a selection */
  }
}

/** A moment in the reader's zone, as the notebook's cells write it; exact: with its seconds. It does not break. */
function when(seconds, exact = false) {
  if (!seconds) return "";
  const parts = { day: "2-digit", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", ...(exact ? { second: "2-digit" } : {}) };
  return new Date(seconds * 1000).toLocaleString("en-GB", parts).replaceAll(" ", "\u00a0");
}

/** A field whose text outlives a redraw. drafts: key -> text. */
function field(tag, key, drafts, props = {}) {
  const node = h(tag, { key, ...props, value: drafts[key] ?? props.value ?? "" });
  node.addEventListener("input", () => {
    drafts[key] = node.value;
  });
  return node;
}

const button = (text, onclick, props = {}) => h("button", { type: "button", key: "button:" + text, onclick, ...props }, text);

const section = (title, ...children) => h("section", {}, h("h4", {}, title), ...children);

const lines = (values, name = "lines") => h("ul", { class: name }, values.map((value) => h("li", {}, value)));

/** A table of strings. rows: lists of strings or nodes. */
function grid(header, rows, name = "") {
  return h(
    "div",
    { class: "bo-scroll" },
    h(
      "table",
      { class: name },
      h("thead", {}, h("tr", {}, header.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))),
    ),
  );
}

/** A click that cannot be taken back asks once more, in place. */
function sure(text, question, act) {
  const box = h("span", { class: "bo-sure" });
  const first = () => {
    box.replaceChildren(button(text, () => box.replaceChildren(question, " ", yes, no), { class: "bo-danger" }));
  };
  const yes = button("Yes, " + text.toLowerCase(), () => { first(); act(); }, { class: "bo-danger" });
  const no = button("No", () => first());
  first();
  return box;
}
