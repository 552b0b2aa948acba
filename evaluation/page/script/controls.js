// The choices above the list, and the start of the explorer.
function labelSelect(side) {
  const select = element("select", { "aria-label": `Method on the ${side}`, class: "label-select", "data-side": side,
    onchange: () => setLabel(side, Number(select.value)) },
  ...data.labels.map((label, number) => element("option", { value: number }, label.name)));
  select.value = state[side];
  return select;
}

function setLabel(side, label) {
  state[side] = label;
  for (const select of document.querySelectorAll(`.label-select[data-side="${side}"]`)) select.value = label;
  for (const mark of document.querySelectorAll(`.side-key[data-side="${side}"]`)) mark.style.setProperty("--c", data.labels[label].colour);
  reorder();
  if (viewer.open) buildViewer();
  remember();
}

function sorts() {
  const hasBase = data.labels[0].base !== null;
  const found = [["text", "alphabet"]];
  if (data.labels.length > 1) found.push(["gain", hasBase ? "gain in hypervolume" : "gain in hypervolume over the right"]);
  found.push(["hard", "difficulty, hardest first"]);
  if (data.labels.length > 1) {
    data.heldOut.forEach((reward, m) => found.push([`loss:${data.guided.length + m}`, `loss of ${reward} (held out)`]));
    data.guided.forEach((reward, m) => found.push([`rise:${m}`, `gain in best ${reward}`]));
  }
  return found;
}

const sortName = () => ({ gain: "gain", hard: "hypervolume alone" })[state.sort]
  ?? sorts().find(([value]) => value === state.sort)[1].replace(" (held out)", "");

// The fields of prompts with several values, each with its values.
let knownFilters = null;

function filters() {
  if (knownFilters) return knownFilters;
  const found = [];
  for (const field of ["style", "source"]) {
    const values = [...new Set(data.prompts.map((prompt) => prompt[field]).filter(Boolean))].sort();
    if (values.length > 1) found.push([field, values]);
  }
  knownFilters = found;
  return found;
}

function buildFilter(select) {
  const groups = filters();
  select.append(...groups.map(([field, values]) => element("optgroup", { label: field },
    ...values.map((value) => element("option", { value: `${field}:${value}` }, short(value, 40))))));
  select.closest("label").hidden = groups.length === 0;
}

function bind(id, name, act = reorder) {
  const node = byId(id);
  node.value = state[name];
  // A value that this page does not offer, from before a reload.
  if (node.selectedIndex === -1) node.value = state[name] = node.options[0].value;
  node.addEventListener(node.type === "search" ? "input" : "change", () => {
    state[name] = name === "x" || name === "y" ? Number(node.value) : node.value;
    act();
    remember();
  });
}

function start() {
  const scroll = recall();
  for (const side of ["left", "right"]) byId(side).append(labelSelect(side));
  byId("right").hidden = data.labels.length === 1;
  byId("sort").append(...sorts().map(([value, name]) => element("option", { value }, name)));
  buildFilter(byId("filter"));
  if (data.guided.length > 2) {
    for (const axis of ["x", "y"]) {
      byId(axis).append(...data.guided.map((reward, m) => element("option", { value: m }, reward)));
      bind(axis, axis);
    }
    byId("axes").hidden = false;
  }
  bind("search", "query");
  bind("filter", "filter");
  bind("sort", "sort");
  for (const choice of document.querySelectorAll("input[name=view]")) {
    choice.checked = choice.value === state.view;
    choice.addEventListener("change", () => { state.view = choice.value; rebuildRows(); remember(); });
  }
  byId("legend").append(...data.labels.map((_, label) => legendEntry(label)));
  buildWeights();
  listenToViewer();
  listenToList();
  byId("explorer").hidden = false;
  byId("scriptless").hidden = true;
  for (const side of ["left", "right"]) setLabel(side, state[side]);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hideCard());
  if (scroll) window.addEventListener("load", () => window.scrollTo(0, scroll));
  // The fonts of the list are known now; a page that is opened in the background has no size before.
  requestAnimationFrame(() => { rebuildRows(); performance.mark("explored"); });
}

start();
