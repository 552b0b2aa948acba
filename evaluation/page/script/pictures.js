// Images are texts at the end of the page, one element for each prompt, and are decoded when they are shown.
const texts = new Map();
const MOST_TEXTS = 48;
let waiting = [];

// The images of a prompt in base64, by label and index, or null while the browser still reads the page.
function textsOf(prompt) {
  if (texts.has(prompt)) return texts.get(prompt);
  const node = byId(`i${prompt}`);
  // While the page is read, only an element with another one after it is complete.
  if (!node || (document.readyState === "loading" && !node.nextElementSibling)) return null;
  const found = node.textContent.split("|").map((label) => (label ? label.split(" ") : []));
  texts.set(prompt, found);
  if (texts.size > MOST_TEXTS) texts.delete(texts.keys().next().value);
  return found;
}

function show(image, prompt, label, index) {
  const name = data.labels[label].name;
  image.alt = `${name}, ${weightsText(label, index)}: ${short(data.prompts[prompt].text)}`;
  const wanted = `${prompt} ${label} ${index}`;
  if (image.dataset.shown === wanted) return;
  image.dataset.shown = wanted;
  const found = textsOf(prompt);
  if (found) image.src = `data:image/webp;base64,${found[label][index]}`;
  else {
    image.removeAttribute("src");
    waiting.push([image, prompt, label, index]);
  }
}

function showWaiting() {
  const late = waiting;
  waiting = [];
  for (const [image, prompt, label, index] of late) {
    if (image.dataset.shown !== `${prompt} ${label} ${index}`) continue;
    image.dataset.shown = "";
    show(image, prompt, label, index);
  }
}

const ticking = setInterval(() => {
  showWaiting();
  if (document.readyState !== "loading") clearInterval(ticking);
}, 60);
document.addEventListener("DOMContentLoaded", showWaiting);

function newImage(className = "") {
  const image = element("img", { class: className, decoding: "async", alt: "" });
  // Small images are shown with visible pixels.
  image.addEventListener("load", () => image.classList.toggle("crisp", image.naturalWidth <= 128));
  return image;
}

// The saved image beside the page, or null if the page was written without.
function fullOf(prompt, label, index) {
  const front = data.prompts[prompt].fronts[label];
  return front?.name ? `images/${front.name}-${index}.png` : null;
}
