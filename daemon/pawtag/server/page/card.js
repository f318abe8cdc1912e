// A photo as a card, and its scores as bars.
import { request } from "./api.js";
import { make } from "./dom.js";
import { percent } from "./labels.js";

const STATUS = { tagged: "tagged", unsure: "unsure", "no-pet": "no pet", failed: "failed" };
const THUMBNAILS_AT_ONCE = 4;
const RETRY_MS = 5000;
const CALM_MS = 1000; // a card that leaves the view before this time loads no thumbnail
const MAX_BARS = 3; // of each group
const waiting = [];
let loading = 0;

const timers = new WeakMap();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    clearTimeout(timers.get(target));
    if (isIntersecting) timers.set(target, setTimeout(() => enqueue(target), CALM_MS));
  }
}, { rootMargin: "200px" });

function enqueue(image) {
  if (!image.isConnected) return;
  watcher.unobserve(image);
  waiting.push(image);
  loadNext();
}

async function loadNext() {
  if (loading >= THUMBNAILS_AT_ONCE || !waiting.length) return;
  const image = waiting.shift();
  loading += 1;
  try {
    const response = await request(`photos/${image.dataset.photo}/thumbnail`, { cache: "default" });
    image.src = URL.createObjectURL(await response.blob());
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  } catch (error) {
    if (error.status >= 400 && error.status < 500) image.replaceWith("no picture");
    else setTimeout(() => watcher.observe(image), RETRY_MS); // busy, or the connection is lost
  }
  loading -= 1;
  loadNext();
}

export function makeThumbnail(photo) {
  if (!photo.has_thumbnail) return make("span", {}, photo.status === "failed" ? "cannot be shown" : "no picture");
  const image = make("img", { alt: "" });
  image.dataset.photo = photo.id;
  watcher.observe(image);
  return image;
}

export function makeChips(photo) {
  const corrected = photo.corrected ?? {};
  const chips = photo.tags.map((tag) =>
    make("li", { class: corrected[tag.group] ? "chip corrected" : "chip" }, tag.label, corrected[tag.group] ? " ✓" : ""),
  );
  const isCorrected = Object.keys(corrected).length > 0;
  if (!chips.length) chips.push(make("li", { class: `chip ${isCorrected ? "corrected" : photo.status}` }, STATUS[photo.status], isCorrected ? " ✓" : ""));
  return make("ul", { class: "chips", "aria-label": "Tags" }, ...chips);
}

export function makeBars(scores, tags) {
  const tagged = new Set(tags.map((tag) => `${tag.group} ${tag.label}`));
  const rows = Object.entries(scores).flatMap(([group, found]) =>
    Object.entries(found)
      .sort((a, b) => b[1] - a[1])
      .slice(0, MAX_BARS)
      .map(([label, score]) => makeBar(label, score, tagged.has(`${group} ${label}`))),
  );
  return make("table", { class: "bars" }, make("caption", { class: "note" }, "Scores"), make("tbody", {}, ...rows));
}

function makeBar(label, score, isTag) {
  const name = label === "none" ? "no pet" : label;
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, isTag ? make("strong", {}, name) : name),
    make("td", {}, make("meter", { min: 0, max: 1, value: score, "aria-label": name })),
    make("td", { class: "number" }, percent(score)),
  );
}

// Where the photo is: the bucket, the folder, or nowhere.
function describePlace(photo) {
  if (photo.uri.startsWith("request:")) return "posted, not kept";
  return photo.uri.slice(0, Math.max(0, photo.uri.length - photo.name.length - 1)) || photo.uri;
}

// A photo that was posted, or that failed, has nothing to correct.
export const isCorrectable = (photo) => photo.status !== "failed" && !photo.uri.startsWith("request:");

export function makeCard(photo, { isSelected, onSelect, onOpen }) {
  const name = make("span", {}, photo.name);
  const check = make("input", { type: "checkbox", checked: isSelected, onchange: () => onSelect(check.checked) });
  return make(
    "li",
    { class: isSelected ? "card selected" : "card" },
    make("div", { class: "picture" }, makeThumbnail(photo)),
    make("div", { class: "name" }, isCorrectable(photo) ? make("label", {}, check, name) : name),
    makeChips(photo),
    photo.error ? make("p", { class: "note" }, photo.error.message) : null,
    make("p", { class: "note" }, `${new Date(photo.tagged_at).toLocaleString()}, ${describePlace(photo)}`),
    make("button", { type: "button", onclick: onOpen, "aria-label": `Details of ${photo.name}` }, "Details"),
  );
}
