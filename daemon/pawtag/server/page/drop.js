// Photos that a person drops, chooses or pastes: tagged at once, not kept.
import { request } from "./api.js";
import { makeBars, makeChips } from "./card.js";
import { find, make, say } from "./dom.js";
import { explain } from "./labels.js";

const AT_ONCE = 2;
const MAX_TRIED = 50;
const queue = [];
let working = 0;

export function listenForPhotos() {
  const drop = find("drop");
  const choose = find("choose");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => add(event.clipboardData.files));
  choose.addEventListener("change", () => {
    add(choose.files);
    choose.value = "";
  });
}

function add(files) {
  for (const file of files) {
    const card = make("li", { class: "card", "aria-busy": "true" }, make("p", { class: "name" }, file.name), make("p", {}, "Waiting …"));
    find("tried").prepend(card);
    queue.push({ file, card });
  }
  while (find("tried").children.length > MAX_TRIED) find("tried").lastChild.remove();
  tagNext();
}

async function tagNext() {
  if (working >= AT_ONCE || !queue.length) return;
  const { file, card } = queue.shift();
  working += 1;
  try {
    const body = new FormData();
    body.append("file", file);
    const response = await request("tag?detail=record", { method: "POST", body });
    const record = await response.json();
    showRecord(card, file, record);
    say(find("tried-message"), `${file.name}: ${record.tags.map((tag) => tag.label).join(", ") || record.status}`);
  } catch (error) {
    card.replaceChildren(make("p", { class: "name" }, file.name), make("p", { role: "alert" }, error.message));
  }
  card.setAttribute("aria-busy", "false");
  working -= 1;
  tagNext();
}

function showRecord(card, file, record) {
  const image = make("img", { alt: "" });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  image.addEventListener("error", () => image.replaceWith("no preview"), { once: true });
  image.src = URL.createObjectURL(file);
  card.replaceChildren(
    make("div", { class: "picture" }, image),
    make("p", { class: "name" }, file.name),
    makeChips({ ...record, corrected: null }),
    ...explain(record).map((text) => make("p", {}, text)),
    makeBars(record.scores, record.tags),
  );
}
