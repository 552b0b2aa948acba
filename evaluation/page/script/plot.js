// Draws the front of one prompt: two rewards against each other, or one reward by label.
const PLOT = { width: 280, height: 224, left: 52, right: 12, top: 12, bottom: 38 };

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(8)));
  return found;
}

function scale(values, from, to) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || Math.abs(low) || 1) * 0.08;
  [low, high] = [low - margin, high + margin];
  const place = (value) => from + ((value - low) / (high - low)) * (to - from);
  return { place, ticks: ticks(low, high, 4) };
}

// The points of a prompt that can be drawn: label, index, x, y.
function pointsOf(prompt) {
  const single = data.guided.length === 1;
  const found = [];
  data.prompts[prompt].fronts.forEach((front, label) => front?.values.forEach((row, index) => {
    const spread = front.values.length > 1 ? (index / (front.values.length - 1) - 0.5) * 0.5 : 0;
    found.push({ label, index, x: single ? label + spread : row[state.x], y: row[single ? 0 : state.y], row });
  }));
  return found.filter((point) => point.x !== null && point.y !== null);
}

function drawAxes(x, y, size, single) {
  const bottom = size.height - size.bottom;
  const lines = [], names = [];
  const limit = single ? [] : x.ticks;
  for (const value of limit) {
    const at = x.place(value);
    lines.push(`M${at} ${size.top}V${bottom}`);
    names.push(svgElement("text", { x: at, y: bottom + 14, "text-anchor": "middle" }, number(value)));
  }
  for (const value of y.ticks) {
    const at = y.place(value);
    lines.push(`M${size.left} ${at}H${size.width - size.right}`);
    names.push(svgElement("text", { x: size.left - 6, y: at + 3.5, "text-anchor": "end" }, number(value)));
  }
  const [across, up] = single ? ["", data.guided[0]] : [data.guided[state.x], data.guided[state.y]];
  const middle = (size.top + bottom) / 2;
  names.push(
    svgElement("text", { class: "axis", x: (size.left + size.width - size.right) / 2, y: size.height - 6, "text-anchor": "middle" },
      across && `${short(title(across, state.x), 40)} →`),
    svgElement("text", { class: "axis", x: 9, y: middle, "text-anchor": "middle", transform: `rotate(-90 9 ${middle})` },
      `${short(title(up, single ? 0 : state.y), 30)} →`),
  );
  return svgElement("g", { "aria-hidden": "true" }, svgElement("path", { class: "gridlines", d: lines.join("") }), ...names);
}

function drawLine(points, x, y, colour) {
  const path = points.map((point, n) => `${n ? "L" : "M"}${x.place(point.x)} ${y.place(point.y)}`).join("");
  return svgElement("path", { class: "line", d: path, stroke: colour });
}

// Each method has a shape of its own, so that colours are not all that tells them apart.
const polygon = (...corners) => (x, y) => `M${corners.map(([dx, dy]) => `${x + dx} ${y + dy}`).join("L")}Z`;
const SHAPES = [
  (x, y) => `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z`,
  polygon([-3.6, -3.6], [3.6, -3.6], [3.6, 3.6], [-3.6, 3.6]),
  polygon([0, -5], [5, 0], [0, 5], [-5, 0]),
  polygon([0, -5], [4.6, 3.6], [-4.6, 3.6]),
  polygon([0, 5], [4.6, -3.6], [-4.6, -3.6]),
];
const guidedLabels = data.labels.map((_, label) => label).filter((label) => !data.labels[label].unguided);
const aloneLabels = data.labels.map((_, label) => label).filter((label) => data.labels[label].unguided);

function shapeOf(label) {
  const own = data.labels[label].unguided ? aloneLabels : guidedLabels;
  return SHAPES[own.indexOf(label) % SHAPES.length];
}

function legendEntry(label) {
  const { name, colour, unguided } = data.labels[label];
  const shape = svgElement("svg", { viewBox: "-7 -7 14 14", class: unguided ? "hollow" : "", style: `--c: ${colour}`, "aria-hidden": "true" },
    svgElement("path", { class: "dot", d: shapeOf(label)(0, 0) }));
  return element("span", {}, shape, name);
}

function drawPoint(prompt, point, x, y) {
  const { name, colour, unguided } = data.labels[point.label];
  const scores = rewards.map((reward, m) => `${reward} ${number(point.row[m])}`).join(", ");
  const [cx, cy] = [x.place(point.x), y.place(point.y)];
  return svgElement("g", {
    class: unguided ? "point hollow" : "point", tabindex: "-1", role: "button", style: `--c: ${colour}`,
    "data-label": point.label, "data-index": point.index,
    "aria-label": `${name}, ${weightsText(point.label, point.index)}: ${scores}`,
  }, svgElement("circle", { class: "ring", cx, cy, r: 8 }), svgElement("path", { class: "dot", d: shapeOf(point.label)(cx, cy) }),
  svgElement("circle", { class: "target", cx, cy, r: 11 }));
}

// Returns the figure, and `mark`, which marks the points that the slider has chosen.
function drawFront(prompt, size = PLOT) {
  const points = pointsOf(prompt);
  const single = data.guided.length === 1;
  const x = scale(single ? [-0.5, data.labels.length - 0.5] : points.map((point) => point.x), size.left, size.width - size.right);
  const y = scale(points.map((point) => point.y), size.height - size.bottom, size.top);
  const lines = planar ? data.labels.map((label, n) => (label.unguided ? null
    : drawLine(points.filter((point) => point.label === n), x, y, label.colour))) : [];
  const dots = points.map((point) => drawPoint(prompt, point, x, y));
  const figure = svgElement("svg", {
    viewBox: `0 0 ${size.width} ${size.height}`, role: "group",
    "aria-label": `Front of ${short(data.prompts[prompt].text)}: ${points.length} points; arrow keys move between them`,
  }, drawAxes(x, y, size, single), ...lines, svgElement("g", {}, ...dots));
  const mark = () => {
    let entry = null;
    for (const dot of dots) {
      const [label, index] = [Number(dot.dataset.label), Number(dot.dataset.index)];
      const chosen = (label === state.left || label === state.right) && index === indexAt(label);
      dot.classList.toggle("chosen", chosen);
      dot.setAttribute("tabindex", "-1");
      if (chosen && (label === state.left || !entry)) entry = dot;
    }
    (entry ?? dots[0])?.setAttribute("tabindex", "0");
  };
  listenToPoints(figure, prompt, dots);
  mark();
  return { figure, mark };
}

function listenToPoints(figure, prompt, dots) {
  const of = (event) => event.target.closest?.(".point");
  const open = (dot) => openViewer(prompt, Number(dot.dataset.label), Number(dot.dataset.index));
  figure.addEventListener("pointerover", (event) => of(event) && event.pointerType !== "touch" && showCard(prompt, of(event)));
  figure.addEventListener("pointerout", (event) => of(event) && hideCard());
  figure.addEventListener("focusin", (event) => of(event)?.matches(":focus-visible") && showCard(prompt, of(event)));
  figure.addEventListener("focusout", hideCard);
  figure.addEventListener("click", (event) => of(event) && open(of(event)));
  figure.addEventListener("keydown", (event) => {
    const dot = of(event);
    if (!dot) return;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(dot); return; }
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    const next = sideways ? dots[(dots.indexOf(dot) + move + dots.length) % dots.length] : otherLabel(dots, dot, move);
    dot.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
}

// The point of the next label with the same index, or the last one that it has.
function otherLabel(dots, dot, move) {
  const labels = [...new Set(dots.map((other) => other.dataset.label))];
  const label = labels[(labels.indexOf(dot.dataset.label) + move + labels.length) % labels.length];
  const own = dots.filter((other) => other.dataset.label === label);
  return own[Math.min(Number(dot.dataset.index), own.length - 1)];
}

// The card beside a point: its image, scores and weights.
const card = byId("card");
const cardImage = newImage();
const cardText = element("div");
card.append(cardImage, cardText);

function showCard(prompt, dot) {
  const [label, index] = [Number(dot.dataset.label), Number(dot.dataset.index)];
  show(cardImage, prompt, label, index);
  cardText.replaceChildren(element("b", {}, key(label), data.labels[label].name),
    element("div", { class: "soft" }, weightsText(label, index)), scoreList(prompt, label, index));
  card.hidden = false;
  const [point, own] = [dot.getBoundingClientRect(), card.getBoundingClientRect()];
  const right = point.right + 8 + own.width < window.innerWidth;
  card.style.left = `${Math.max(4, right ? point.right + 8 : point.left - own.width - 8)}px`;
  card.style.top = `${clamp(point.top - own.height / 2, 4, Math.max(4, window.innerHeight - own.height - 4))}px`;
}

function hideCard() {
  card.hidden = true;
}

function scoreList(prompt, label, index) {
  const row = data.prompts[prompt].fronts[label].values[index];
  return element("dl", { class: "scores" }, ...rewards.flatMap((reward, m) => [
    element("dt", { class: m < data.guided.length ? "" : "held" }, reward), element("dd", {}, number(row[m]))]));
}
