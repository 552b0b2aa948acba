// The control of the weights: a slider, or a triangle if three rewards guide. Both move every image of the page.
const TRIANGLE = { side: 132, x: 46, y: 16 };
let moveWeightControl = () => {};

function positionText(position = state.position) {
  const weights = data.positions[position];
  if (!weights.length) return `sample ${position + 1}`;
  const same = data.positions.filter((other) => String(other) === String(weights)).length > 1;
  const text = data.guided.map((reward, m) => `${reward} ${number(weights[m], 3)}`).join(", ");
  return same ? `${text}, image ${position + 1}` : text;
}

function setPosition(position) {
  const next = clamp(position, 0, data.positions.length - 1);
  if (next === state.position) return;
  state.position = next;
  moveWeightControl();
  updateRows();
  updateViewer();
  remember();
}

function buildWeights() {
  const place = byId("weights");
  if (data.positions.length < 2) place.hidden = true;
  else if (data.guided.length === 3) buildTriangle(place);
  else buildSlider(place);
  moveWeightControl();
}

function buildSlider(place) {
  const slider = element("input", {
    type: "range", id: "slider", min: 0, max: data.positions.length - 1, step: 1,
    "aria-label": "Weights of the rewards", oninput: () => setPosition(Number(slider.value)),
  });
  const output = element("output", { for: "slider" });
  const ends = planar ? [data.guided[1], data.guided[0]] : ["first", "last"];
  place.append(element("div", { class: "ends" }, element("span", {}, ends[0]), output, element("span", {}, ends[1])), slider);
  moveWeightControl = () => {
    slider.value = state.position;
    slider.setAttribute("aria-valuetext", positionText());
    const weights = data.positions[state.position];
    output.textContent = planar ? `${number(weights[1], 3)} : ${number(weights[0], 3)}` : positionText();
  };
}

// A corner for each reward: the first on top, then bottom left and bottom right.
function cornerPlace(weights) {
  const { side, x, y } = TRIANGLE;
  return [x + side * (weights[0] / 2 + weights[2]), y + side * 0.866 * (1 - weights[0])];
}

function buildTriangle(place) {
  const corners = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map(cornerPlace);
  const dots = data.positions.map((weights, position) => {
    const [cx, cy] = cornerPlace(weights);
    return svgElement("g", { class: "choice", role: "radio", "aria-label": positionText(position) },
      svgElement("circle", { class: "dot", cx, cy, r: 6 }), svgElement("circle", { class: "target", cx, cy, r: 12 }));
  });
  const names = data.guided.map((reward, m) => svgElement("text", {
    x: corners[m][0] + [0, -4, 4][m], y: corners[m][1] + [-8, 18, 18][m], "text-anchor": "middle",
  }, short(reward, 16)));
  const figure = svgElement("svg", { viewBox: "0 0 224 156", id: "triangle", role: "radiogroup", "aria-label": "Weights of the rewards" },
    svgElement("path", { class: "line", d: `M${corners.join("L")}Z` }), ...names, ...dots);
  const output = element("output");
  place.classList.add("three");
  place.append(figure, output);
  moveWeightControl = () => {
    dots.forEach((dot, position) => {
      dot.setAttribute("aria-checked", position === state.position);
      dot.setAttribute("tabindex", position === state.position ? 0 : -1);
    });
    output.replaceChildren(...positionText().split(", ").map((line) => element("div", {}, line)));
  };
  listenToTriangle(figure, dots);
}

function listenToTriangle(figure, dots) {
  const nearest = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(figure.getScreenCTM().inverse());
    const far = data.positions.map((weights) => {
      const [x, y] = cornerPlace(weights);
      return (x - point.x) ** 2 + (y - point.y) ** 2;
    });
    return far.indexOf(Math.min(...far));
  };
  figure.addEventListener("pointerdown", (event) => {
    figure.setPointerCapture(event.pointerId);
    setPosition(nearest(event));
  });
  figure.addEventListener("pointermove", (event) => figure.hasPointerCapture(event.pointerId) && setPosition(nearest(event)));
  figure.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const [x, y] = cornerPlace(data.positions[state.position]);
    let [best, least] = [state.position, Infinity];
    data.positions.forEach((weights, position) => {
      const [dx, dy] = [cornerPlace(weights)[0] - x, cornerPlace(weights)[1] - y];
      const along = dx * way[0] + dy * way[1];
      const cost = Math.hypot(dx, dy) + 2 * Math.abs(dx * way[1] - dy * way[0]);
      if (along > 1 && cost < least) [best, least] = [position, cost];
    });
    setPosition(best);
    dots[state.position].focus();
  });
}
