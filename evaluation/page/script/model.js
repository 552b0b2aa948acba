// The data of the page, the state of the explorer, and small helpers. All texts of the data are put into text nodes.
const data = JSON.parse(document.getElementById("data").textContent);
const rewards = [...data.guided, ...data.heldOut];
const planar = data.guided.length === 2;
const byId = (id) => document.getElementById(id);

const state = {
  position: Math.floor(data.positions.length / 2),
  left: data.left,
  right: data.labels[data.left].base ?? (data.left === 0 ? Math.min(1, data.labels.length - 1) : 0),
  view: "one",
  query: "",
  filter: "",
  sort: "text",
  x: 0,
  y: Math.min(1, data.guided.length - 1),
};
// The numbers of the prompts that are shown, in their order.
let order = data.prompts.map((_, number) => number);

function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svgElement(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = Math.abs(value) >= 10 ** digits || Number.isInteger(value)
    ? Math.round(value).toLocaleString("en-US")
    : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

const signed = (value, digits = 3) => (value > 0 ? "+" : "") + number(value, digits);
const short = (text, most = 80) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const title = (reward, axis) => (data.units[axis] ? `${reward} (${data.units[axis].replace("-", "−")})` : reward);

// "colorfulness 0.4, compressibility 0.6", or "sample 3" of the model alone.
function weightsText(label, index) {
  const weights = data.labels[label].weights;
  if (!weights) return `sample ${index + 1}`;
  return data.guided.map((reward, m) => `${reward} ${number(weights[index][m], 3)}`).join(", ");
}

// "(0.4, 0.6)"
function weightsShort(label, index) {
  const weights = data.labels[label].weights;
  return weights ? `(${weights[index].map((w) => number(w, 3)).join(", ")})` : `#${index + 1}`;
}

const indexAt = (label, position = state.position) => data.labels[label].at[position];

// The position of the slider that shows this image of this label.
function positionOf(label, index) {
  const exact = data.labels[label].at.indexOf(index);
  return exact < 0 ? state.position : exact;
}

const key = (label) => element("span", { class: "key", style: `--c: ${data.labels[label].colour}` });

// What a prompt is sorted by; null if the prompt has no such value.
function measure(prompt, sort) {
  const { volumes, fronts } = data.prompts[prompt];
  const base = data.labels[state.left].base ?? state.right;
  const [kind, reward] = [sort.split(":")[0], Number(sort.split(":")[1])];
  const known = fronts[state.left] && fronts[base];
  if (kind === "gain") return volumes[state.left] === null || volumes[base] === null ? null : volumes[state.left] - volumes[base];
  if (kind === "hard") return volumes[base];
  if (!known) return null;
  const column = (label) => fronts[label].values.map((row) => row[reward]);
  const change = kind === "rise"
    ? Math.max(...column(state.left)) - Math.max(...column(base))
    : mean(column(base)) - mean(column(state.left));
  return Number.isFinite(change) ? change : null;
}

const stored = `srsoup ${location.pathname}`;

function remember() {
  try {
    sessionStorage.setItem(stored, JSON.stringify({ ...state, scroll: window.scrollY }));
  } catch { /* A browser may forbid storage; then a reload begins anew. */ }
}

function recall() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(stored) ?? "{}");
    const limits = { position: data.positions.length, left: data.labels.length, right: data.labels.length,
      x: data.guided.length, y: data.guided.length };
    for (const [name, most] of Object.entries(limits)) if (saved[name] < most) state[name] = saved[name];
    for (const name of ["view", "query", "filter", "sort"]) if (typeof saved[name] === "string") state[name] = saved[name];
    return saved.scroll ?? 0;
  } catch {
    return 0;
  }
}
