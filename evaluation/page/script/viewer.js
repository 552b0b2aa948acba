// The large view of one prompt: two images side by side, all weightings below, and arrow keys.
const viewer = byId("viewer");
const sides = ["left", "right"].map((side) => ({ side, image: newImage("large"), caption: element("figcaption") }));
let viewed = 0;
let viewerPlot = null;

function openViewer(prompt, label = state.left, index = null) {
  hideCard();
  viewed = prompt;
  if (label !== state.left && label !== state.right) setLabel("left", label);
  if (index !== null && index !== indexAt(label)) setPosition(positionOf(label, index));
  if (!viewer.open) viewer.showModal();
  buildViewer();
}

function buildViewer() {
  const { text, source, style } = data.prompts[viewed];
  byId("viewer-prompt").textContent = text;
  byId("viewer-place").textContent = [`Prompt ${order.indexOf(viewed) + 1} of ${order.length.toLocaleString("en-US")}`,
    source, style].filter(Boolean).join(" · ");
  viewerPlot = drawFront(viewed, { ...PLOT, width: 420, height: 300 });
  byId("viewer-plot").replaceChildren(viewerPlot.figure);
  byId("viewer-strips").replaceChildren(...shownLabels().map((label) => buildStrip(viewed, label).node));
  updateViewer();
}

function updateViewer() {
  if (!viewer.open) return;
  sides.forEach(({ side, image, caption }) => {
    const label = state[side];
    const front = data.prompts[viewed].fronts[label];
    image.hidden = !front;
    caption.replaceChildren();
    if (!front) { caption.append(`No image of ${data.labels[label].name}.`); return; }
    const index = indexAt(label);
    const full = fullOf(viewed, label, index);
    show(image, viewed, label, index);
    if (full) { image.src = full; image.dataset.shown = ""; }
    caption.append(element("span", { class: "soft" }, `${weightsText(label, index)} · seed ${front.seeds[index]}`));
    if (full) caption.append(" ", element("a", { href: full, target: "_blank", rel: "noopener" }, "saved image"));
  });
  byId("viewer-scores").replaceChildren(...scoreRows());
  viewerPlot?.mark();
  for (const strip of byId("viewer-strips").children) {
    const label = Number(strip.dataset.label);
    strip.querySelectorAll(".cell").forEach((cell, index) => cell.classList.toggle("chosen", index === indexAt(label)));
  }
  byId("viewer-said").textContent = `${short(data.prompts[viewed].text)}. ${positionText()}`;
}

function scoreRows() {
  const rows = sides.map(({ side }) => data.prompts[viewed].fronts[state[side]]?.values[indexAt(state[side])]);
  const head = element("tr", {}, element("td"), ...sides.map(({ side }) => element("th", { scope: "col" }, key(state[side]), data.labels[state[side]].name)),
    element("th", { scope: "col" }, "difference"));
  const cells = (values, difference) => [...values.map((value) => element("td", {}, number(value))),
    element("td", { class: difference > 0 ? "good" : difference < 0 ? "minus" : "" }, Number.isFinite(difference) ? signed(difference) : "–")];
  const minus = (a, b) => (Number.isFinite(a) && Number.isFinite(b) ? a - b : NaN);
  const volumes = sides.map(({ side }) => data.prompts[viewed].volumes[state[side]]);
  return [head, ...rewards.map((reward, m) => {
    const values = rows.map((row) => row?.[m]);
    return element("tr", {}, element("th", { scope: "row" }, title(reward, m), m < data.guided.length ? null : element("small", { class: "soft" }, " held out")),
      ...cells(values, minus(...values)));
  }), element("tr", {}, element("th", { scope: "row" }, "hypervolume"), ...cells(volumes, minus(...volumes)))];
}

function stepPrompt(step) {
  const place = clamp(order.indexOf(viewed) + step, 0, order.length - 1);
  if (order[place] === viewed || order.length === 0) return;
  viewed = order[place];
  buildViewer();
}

function listenToViewer() {
  sides.forEach(({ side, image, caption }) => {
    byId(`viewer-${side}`).append(labelSelect(side), image, caption);
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input") || event.target.closest(".point")) return;
    const move = { ArrowLeft: () => setPosition(state.position - 1), ArrowRight: () => setPosition(state.position + 1),
      ArrowUp: () => stepPrompt(-1), ArrowDown: () => stepPrompt(1) }[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move();
  });
  viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
  viewer.addEventListener("close", () => {
    hideCard();
    scrollToPromptIfFar(viewed);
    list.querySelector(`[data-prompt="${viewed}"] .picture, [data-prompt="${viewed}"] .cell`)?.focus({ preventScroll: true });
  });
  for (const [id, action] of Object.entries({
    "viewer-close": () => viewer.close(), "viewer-less": () => setPosition(state.position - 1),
    "viewer-more": () => setPosition(state.position + 1), "viewer-before": () => stepPrompt(-1), "viewer-next": () => stepPrompt(1),
  })) byId(id).addEventListener("click", action);
}

function scrollToPromptIfFar(prompt) {
  const row = list.querySelector(`[data-prompt="${prompt}"]`)?.getBoundingClientRect();
  if (row && row.top >= 0 && row.bottom <= window.innerHeight) return;
  scrollToPrompt(prompt);
  layRows();
}
