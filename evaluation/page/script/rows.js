// The list of prompts. Only the rows near the screen exist; the list has the height of all of them.
const list = byId("rows");
const built = new Map();
list.style.setProperty("--lines", rewards.length);
const NEAR = 900;
const MOST_PRINTED = 60;
let rowHeight = 0;
let printing = false;

function buildRow(place) {
  const prompt = order[place];
  const row = element("article", {
    class: "row card", role: "listitem", "aria-posinset": place + 1, "aria-setsize": order.length, "data-prompt": prompt,
  });
  const shots = shownLabels().map((label) => (state.view === "one" ? buildShot(prompt, label) : buildStrip(prompt, label)));
  const plot = state.view === "one" ? drawFront(prompt) : null;
  row.append(buildAbout(prompt), ...(plot ? [element("div", { class: "plot" }, plot.figure)] : []), ...shots.map((shot) => shot.node));
  return { row, update: () => { shots.forEach((shot) => shot.update()); plot?.mark(); } };
}

const shownLabels = () => (state.left === state.right ? [state.left] : [state.left, state.right]);

function buildAbout(prompt) {
  const { text, source, style, volumes, compared } = data.prompts[prompt];
  const facts = element("div", { class: "facts soft" });
  if (compared) {
    facts.append(element("span", {}, "hypervolume"));
    for (const label of shownLabels()) {
      facts.append(element("span", { title: `hypervolume, ${data.labels[label].name}` }, key(label), number(volumes[label])));
    }
  } else facts.append(element("span", { class: "warn" }, "not compared: some method has not finished it"));
  const value = state.sort === "text" ? null : measure(prompt, state.sort);
  if (state.sort !== "text") facts.append(element("span", {}, `${sortName()}: ${state.sort === "hard" ? number(value) : signed(value)}`));
  const known = filters().map(([field]) => field);
  for (const tag of [known.includes("style") && style, known.includes("source") && source]) if (tag) facts.append(element("span", { class: "tag" }, tag));
  return element("div", { class: "about" }, element("h3", { class: "prompt", title: short(text, 400) }, short(text, 400)), facts);
}

function buildShot(prompt, label) {
  const image = newImage();
  const scores = element("div");
  const weights = element("span", { class: "soft" });
  const button = element("button", { class: "picture", type: "button", onclick: () => openViewer(prompt, label) }, image);
  const node = element("figure", { class: "shot", "data-label": label },
    button, element("figcaption", {}, element("b", {}, key(label), data.labels[label].name), " ", weights, scores));
  const update = () => {
    if (!data.prompts[prompt].fronts[label]) { showMissing(node); return; }
    const index = indexAt(label);
    show(image, prompt, label, index);
    weights.textContent = weightsShort(label, index);
    scores.replaceChildren(scoreList(prompt, label, index));
  };
  update();
  return { node, update };
}

function showMissing(node) {
  node.replaceChildren(element("p", { class: "soft" }, `No image of ${data.labels[Number(node.dataset.label)].name}.`));
}

function buildStrip(prompt, label) {
  const node = element("div", { class: "strip", role: "group", "aria-label": data.labels[label].name, "data-label": label });
  const front = data.prompts[prompt].fronts[label];
  if (!front) { showMissing(node); return { node, update: () => {} }; }
  const cells = front.values.map((row, index) => {
    const image = newImage();
    show(image, prompt, label, index);
    return element("button", { class: "cell", type: "button", title: weightsText(label, index), onclick: () => openViewer(prompt, label, index) }, image,
      element("span", {}, weightsShort(label, index)), element("small", { class: "soft" }, row.map((value) => number(value, 3)).join(" · ")));
  });
  const update = () => cells.forEach((cell, index) => cell.classList.toggle("chosen", index === indexAt(label)));
  node.append(element("b", { class: "name" }, key(label), data.labels[label].name), element("div", { class: "cells" }, ...cells));
  update();
  return { node, update };
}

function layRows() {
  if (printing) return;
  const top = list.getBoundingClientRect().top;
  const first = clamp(Math.floor((-top - NEAR) / rowHeight), 0, order.length);
  const last = clamp(Math.ceil((window.innerHeight - top + NEAR) / rowHeight), 0, order.length);
  for (const [place, { row }] of built) {
    // A row that has the focus stays, so that the keyboard does not lose its place.
    if ((place < first || place >= last) && !row.contains(document.activeElement)) {
      row.remove();
      built.delete(place);
    }
  }
  for (let place = first; place < last; place += 1) {
    if (built.has(place)) continue;
    const made = buildRow(place);
    made.row.style.top = `${place * rowHeight}px`;
    built.set(place, made);
    // Rows are in the order of the list, which is also the order of the tab key.
    let next = place + 1;
    while (next < last && !built.has(next)) next += 1;
    list.insertBefore(made.row, built.get(next)?.row ?? null);
  }
}

function rebuildRows() {
  for (const { row } of built.values()) row.remove();
  built.clear();
  list.classList.toggle("all", state.view === "all");
  list.classList.toggle("alone", shownLabels().length === 1);
  rowHeight = parseFloat(getComputedStyle(byId("probe")).height);
  list.style.height = printing ? "auto" : `${order.length * rowHeight}px`;
  layRows();
}

function updateRows() {
  for (const { update } of built.values()) update();
}

// Chooses and sorts the prompts by the search, the filter and the sort.
function reorder() {
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const [field, wanted] = [state.filter.slice(0, state.filter.indexOf(":")), state.filter.slice(state.filter.indexOf(":") + 1)];
  order = data.prompts.map((_, prompt) => prompt).filter((prompt) => {
    const text = data.prompts[prompt].text.toLowerCase();
    return words.every((word) => text.includes(word)) && (!state.filter || data.prompts[prompt][field] === wanted);
  });
  if (state.sort !== "text") {
    const values = new Map(order.map((prompt) => [prompt, measure(prompt, state.sort)]));
    const sign = state.sort === "hard" ? 1 : -1;
    const rank = (prompt) => (values.get(prompt) === null ? Infinity : sign * values.get(prompt));
    order.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(a) - rank(b)));
  }
  const all = data.prompts.length;
  byId("said").textContent = order.length === all ? `${all.toLocaleString("en-US")} prompt${all === 1 ? "" : "s"}`
    : `${order.length.toLocaleString("en-US")} of ${all.toLocaleString("en-US")} prompts`;
  rebuildRows();
}

// Brings a prompt to the screen.
function scrollToPrompt(prompt) {
  const place = order.indexOf(prompt);
  if (place >= 0) window.scrollTo({ top: list.getBoundingClientRect().top + window.scrollY + place * rowHeight - window.innerHeight / 4 });
}

function printRows(begin) {
  printing = begin;
  rebuildRows();
  if (!begin) return;
  list.append(...order.slice(0, MOST_PRINTED).map((_, place) => {
    const made = buildRow(place);
    built.set(place, made);
    return made.row;
  }));
  byId("printed").textContent = order.length > MOST_PRINTED
    ? `Printed are the first ${MOST_PRINTED} of ${order.length.toLocaleString("en-US")} prompts. Search, filter and sort choose which.` : "";
}

function listenToList() {
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; layRows(); });
  };
  window.addEventListener("scroll", later, { passive: true });
  window.addEventListener("resize", () => (parseFloat(getComputedStyle(byId("probe")).height) === rowHeight ? later() : rebuildRows()));
  window.addEventListener("beforeprint", () => printRows(true));
  window.addEventListener("afterprint", () => printRows(false));
  window.addEventListener("pagehide", remember);
}
