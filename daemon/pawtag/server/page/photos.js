// The list of photos: newest first, filtered, kept up to date by the live feed; selected, corrected, retried.
import { requestJson } from "./api.js";
import { makeCard } from "./card.js";
import { makeCorrectionForm } from "./corrections.js";
import { openDetails } from "./details.js";
import { find, make, say } from "./dom.js";
import { follow } from "./live-feed.js";

const PAGE_SIZE = 100;
const MAX_SHOWN = 2000;
const AT_ONCE = 4;
const FILTERS = [["", "all"], ["tagged", "tagged"], ["unsure", "unsure"], ["no-pet", "no pet"], ["failed", "failed"]];
const shown = new Map(); // by id: the photo and its card
const selected = new Set();
let status = "";
let next = null;

export async function showPhotos() {
  drawFilters();
  find("more").addEventListener("click", loadOlder);
  find("select-all").addEventListener("click", selectAll);
  const last = await reload();
  follow(last, {
    onPhoto: update,
    onGone: remove,
    onReload: reload,
    onConnection: (isConnected) => say(find("message"), isConnected ? "" : "The connection is lost; it is tried again."),
  });
}

function drawFilters() {
  const buttons = FILTERS.map(([value, name]) =>
    make("button", { type: "button", "aria-pressed": String(value === status), onclick: () => choose(value) }, name),
  );
  find("filters").replaceChildren(make("legend", {}, "Show"), ...buttons);
}

async function choose(value) {
  status = value;
  drawFilters();
  [...find("filters").querySelectorAll("button")][FILTERS.findIndex(([each]) => each === value)].focus();
  await reload();
}

async function load(before) {
  const query = new URLSearchParams({ limit: PAGE_SIZE, ...(status ? { status } : {}), ...(before ? { before } : {}) });
  return requestJson(`photos?${query}`);
}

async function reload() {
  const page = await load(null);
  shown.clear();
  selected.clear();
  find("photos").replaceChildren();
  append(page);
  return page.last_event_id;
}

async function loadOlder() {
  append(await load(next));
}

function append(page) {
  for (const photo of page.photos) if (!shown.has(photo.id)) find("photos").append(draw(photo));
  next = page.next;
  settle();
}

function draw(photo) {
  const card = makeCard(photo, {
    isSelected: selected.has(photo.id),
    onSelect: (isSelected) => select(photo.id, isSelected),
    onOpen: () => openDetails(photo, { correct, retry }).catch((error) => say(find("message"), error.message)),
  });
  shown.set(photo.id, { photo, card });
  return card;
}

// One that is shown stays in its place, so that nothing jumps below the pointer.
function update(photo) {
  const old = shown.get(photo.id);
  const isWanted = !status || photo.status === status;
  if (old && isWanted) old.card.replaceWith(draw(photo));
  else if (old) remove(photo.id);
  else if (isWanted) find("photos").prepend(draw(photo));
  while (shown.size > MAX_SHOWN) dropOldest();
  settle();
}

// A day's feed must not fill the memory of the browser. Older ones come back with the next reload.
function dropOldest() {
  remove(lastId());
  next = null;
}

function lastId() {
  const last = find("photos").lastElementChild;
  for (const [id, { card }] of shown) if (card === last) return id;
  return null;
}

function remove(id) {
  shown.get(id)?.card.remove();
  shown.delete(id);
  selected.delete(id);
  settle();
}

function select(id, isSelected) {
  if (isSelected) selected.add(id);
  else selected.delete(id);
  shown.get(id)?.card.classList.toggle("selected", isSelected);
  settle();
}

function selectAll() {
  const isAll = selected.size === shown.size;
  for (const [id, { card }] of shown) {
    card.querySelector("input").checked = !isAll;
    select(id, !isAll);
  }
}

let settling = false;

// What depends on the whole list is drawn once for many changes.
function settle() {
  if (settling) return;
  settling = true;
  requestAnimationFrame(() => {
    settling = false;
    find("empty").hidden = shown.size > 0;
    find("more").hidden = next === null;
    drawReasons();
    drawSelection();
  });
}

function drawReasons() {
  const byCode = new Map();
  for (const { photo } of shown.values()) {
    if (photo.error) byCode.set(photo.error.code, [...(byCode.get(photo.error.code) ?? []), photo]);
  }
  const rows = [...byCode].map(([code, photos]) =>
    make(
      "div",
      { class: "reason" },
      make("span", {}, `${photos.length} failed: ${code}`),
      make("button", { type: "button", onclick: () => retry(photos), "aria-label": `Retry the ${photos.length} photos that failed with ${code}` }, "Retry these"),
    ),
  );
  if (byCode.size > 1) {
    const all = [...byCode.values()].flat();
    rows.push(make("div", { class: "reason" }, make("span", {}, `${all.length} failed in all`), make("button", { type: "button", onclick: () => retry(all) }, "Retry all")));
  }
  find("reasons").replaceChildren(...(status === "failed" ? rows : []));
}

let drawnFor = "";

function drawSelection() {
  const photos = [...selected].map((id) => shown.get(id)?.photo).filter(Boolean);
  const bar = find("selection");
  bar.hidden = !photos.length;
  const now = [...selected].join();
  if (now === drawnFor) return;
  drawnFor = now;
  bar.replaceChildren(
    make("p", {}, make("strong", {}, `${photos.length} selected`)),
    makeCorrectionForm(photos, (corrections) => correct(photos, corrections)),
    make("div", { class: "row" }, make("button", { type: "button", onclick: clearSelection }, "Clear selection")),
  );
}

function clearSelection() {
  for (const id of [...selected]) {
    const card = shown.get(id)?.card;
    if (card) card.querySelector("input").checked = false;
    select(id, false);
  }
}

// The corrections, on top of what was corrected before; null takes all back. Undo writes what was there before.
async function correct(chosen, corrections) {
  const photos = chosen.map((photo) => shown.get(photo.id)?.photo ?? photo); // it may have changed since
  const before = photos.map((photo) => [photo, photo.corrected]);
  const failed = await runEach(photos, (photo) =>
    putCorrections(photo, corrections && { ...photo.corrected, ...corrections }),
  );
  clearSelection();
  report(photos.length, failed, corrections ? "corrected" : "as the model says", () => undo(before));
}

async function undo(before) {
  const failed = await runEach(before, ([photo, corrected]) => putCorrections(photo, corrected));
  report(before.length, failed, "as before", null);
}

async function putCorrections(photo, corrections) {
  update(await requestJson(`photos/${photo.id}/corrections`, { method: "PUT", body: JSON.stringify(corrections) }));
}

async function retry(photos) {
  let tagged = 0;
  const failed = await runEach(photos, async (photo) => {
    const found = await requestJson(`photos/${photo.id}/retry`, { method: "POST" });
    if (found.status !== "failed") tagged += 1;
    update(found);
  });
  say(find("message"), `${tagged} of ${photos.length} photos are tagged now.${failed ? ` ${failed}` : ""}`);
}

// Runs some at once; the first error's text, or "".
async function runEach(items, work) {
  const queue = [...items];
  let problem = "";
  const workers = Array.from({ length: AT_ONCE }, async () => {
    while (queue.length) {
      try {
        await work(queue.shift());
      } catch (error) {
        problem ||= error.message;
      }
    }
  });
  await Promise.all(workers);
  return problem;
}

function report(count, problem, what, onUndo) {
  const text = problem ? `Not all could be done: ${problem}` : `${count} ${count === 1 ? "photo is" : "photos are"} ${what}. `;
  const button = onUndo ? make("button", { type: "button", onclick: onUndo }, "Undo") : "";
  find("message").replaceChildren(text, button);
}
