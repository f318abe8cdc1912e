// The list of photos: newest first, filtered, kept up to date by the live feed; selected, corrected, retried.
import { requestJson } from "./api.js";
import { makeCard } from "./card.js";
import { keepApplicable, makeCorrectionForm } from "./corrections.js";
import { openDetails } from "./details.js";
import { find, make, say } from "./dom.js";
import { follow } from "./live-feed.js";

const PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 500;
const MAX_SHOWN = 2000;
const AT_ONCE = 4;
const FILTERS = [["", "all"], ["tagged", "tagged"], ["unsure", "unsure"], ["no-pet", "no pet"], ["failed", "failed"]];
const shown = new Map(); // by id: the photo and its card
const selected = new Set();
let status = "";
let next = null;
let failures = {};
let generation = 0; // of the list: answers for an earlier generation are ignored
let pending = null; // what the feed tells while the list is read

export async function showPhotos() {
  drawFilters();
  find("more").addEventListener("click", () => loadOlder().catch(report));
  find("select-all").addEventListener("click", selectAll);
  const last = await reload();
  follow(last, {
    onPhoto: (photo) => (pending ? pending.push(() => update(photo)) : update(photo)),
    onGone: (id) => (pending ? pending.push(() => remove(id)) : remove(id)),
    onReload: reload,
    onConnection: (isConnected) => say(find("connection"), isConnected ? "" : "Connection lost. Connecting again …"),
  });
}

export function showFailures(counts) {
  failures = counts;
  settle();
}

function drawFilters() {
  const buttons = FILTERS.map(([value, name]) =>
    make("button", { type: "button", "aria-pressed": String(value === status), onclick: () => choose(value) }, name),
  );
  find("filters").replaceChildren(make("legend", {}, "Show"), ...buttons);
}

async function choose(value) {
  const before = status;
  status = value;
  drawFilters();
  find("filters").querySelector("[aria-pressed=true]").focus();
  try {
    await reload();
  } catch (error) {
    status = before;
    drawFilters();
    report(error);
  }
}

function load(options) {
  const given = Object.entries({ limit: PAGE_SIZE, status, ...options }).filter(([, value]) => value);
  return requestJson(`photos?${new URLSearchParams(given)}`);
}

// Reads the list again. Changes that the feed sends meanwhile are applied afterwards.
async function reload() {
  const mine = ++generation;
  pending ??= [];
  try {
    const page = await load({});
    if (mine !== generation) return page.last_event_id;
    shown.clear();
    selected.clear();
    find("photos").replaceChildren();
    append(page);
    return page.last_event_id;
  } finally {
    if (mine === generation) {
      const changes = pending;
      pending = null;
      for (const change of changes) change();
    }
  }
}

async function loadOlder() {
  const mine = generation;
  const page = await load({ before: next });
  if (mine === generation) append(page);
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
    onOpen: () => openDetails(photo, { correct, retry }).catch(report),
  });
  shown.set(photo.id, { photo, card });
  return card;
}

// A photo that is shown already keeps its place and the focus, so that nothing moves under the pointer.
function update(photo) {
  const old = shown.get(photo.id);
  const isWanted = !status || photo.status === status;
  if (old && isWanted) replace(old.card, draw(photo));
  else if (old) remove(photo.id);
  else if (isWanted) find("photos").prepend(draw(photo));
  while (shown.size > MAX_SHOWN) dropOldest();
  settle();
}

function replace(old, card) {
  const focused = [...old.querySelectorAll("input, button")].indexOf(document.activeElement);
  old.replaceWith(card);
  if (focused >= 0) card.querySelectorAll("input, button")[focused]?.focus();
}

// A long feed must not fill the browser's memory. Dropped photos come back with the next reload.
function dropOldest() {
  const last = find("photos").lastElementChild;
  for (const [id, { card }] of shown) if (card === last) remove(id);
  next = null;
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
  const choosable = [...shown].filter(([, { card }]) => card.querySelector("input"));
  const isAll = choosable.every(([id]) => selected.has(id));
  for (const [id, { card }] of choosable) {
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
  const counts = status === "failed" ? Object.entries(failures) : [];
  const rows = counts.map(([code, count]) => makeReason(`${count} failed: ${code}`, "Retry these", `Retry the ${count} photos that failed with ${code}`, code));
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  if (counts.length > 1) rows.push(makeReason(`${total} failed in all`, "Retry all", "Retry all", null));
  find("reasons").replaceChildren(...rows);
}

function makeReason(text, name, label, code) {
  const button = make("button", { type: "button", "aria-label": label, onclick: () => retryAll(code).catch(report) }, name);
  return make("div", { class: "reason" }, make("span", {}, text), button);
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
    const box = shown.get(id)?.card.querySelector("input");
    if (box) box.checked = false;
    select(id, false);
  }
}

// Adds the corrections to those in the record; null removes all. Undo writes the earlier corrections again.
async function correct(photos, corrections) {
  const before = [];
  const work = photos.filter((photo) => corrections || photo.corrected);
  const problem = await runEach(work, async (photo) => {
    const method = corrections ? "PATCH" : "PUT";
    const found = await writeCorrections(photo, method, corrections && keepApplicable(corrections, photo));
    before.push([photo, found.corrected_before]);
  });
  clearSelection();
  reportCorrected(before.length, problem, corrections ? "corrected" : "without corrections now", () => undo(before));
}

async function undo(before) {
  const problem = await runEach(before, ([photo, corrected]) => writeCorrections(photo, "PUT", corrected));
  reportCorrected(before.length, problem, "as before", null);
}

async function writeCorrections(photo, method, corrections) {
  const found = await requestJson(`photos/${photo.id}/corrections`, { method, body: JSON.stringify(corrections) });
  update(found);
  return found;
}

async function retryAll(code) {
  const photos = [];
  let before = null;
  do {
    const page = await load({ status: "failed", code, before, limit: MAX_PAGE_SIZE });
    photos.push(...page.photos);
    before = page.next;
  } while (before);
  await retry(photos);
}

async function retry(photos) {
  let tagged = 0;
  const problem = await runEach(photos, async (photo) => {
    const found = await requestJson(`photos/${photo.id}/retry`, { method: "POST" });
    if (found.status !== "failed") tagged += 1;
    update(found);
  });
  say(find("message"), `${tagged} of ${photos.length} photos are tagged now.${problem ? ` ${problem}` : ""}`);
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

function report(error) {
  say(find("message"), error.message);
}

function reportCorrected(count, problem, what, onUndo) {
  const done = `${count} ${count === 1 ? "photo is" : "photos are"} ${what}. `;
  const button = onUndo && count ? make("button", { type: "button", onclick: onUndo }, "Undo") : "";
  find("message").replaceChildren(problem ? `${done}Not all could be done: ${problem} ` : done, button);
}
