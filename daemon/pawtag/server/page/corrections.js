// The correction form: a chip for each known label, for one photo or for many.
import { make } from "./dom.js";
import { groups } from "./labels.js";

// The form; `onApply` gets the corrections, or null to take them back.
export function makeCorrectionForm(photos, onApply) {
  const chosen = {};
  const form = make("div", { class: "corrections" });
  const draw = () => form.replaceChildren(...drawGroups(photos, chosen, draw, form), drawActions(photos, chosen, onApply));
  draw();
  return form;
}

// Removes groups that do not apply to the photo after the correction, such as the coat of a snake.
export function keepApplicable(corrections, photo) {
  const shown = { ...groupTags(photo), ...corrections };
  return Object.fromEntries(Object.entries(corrections).filter(([name]) => applies(findGroup(name), shown)));
}

const findGroup = (name) => groups.find((group) => group.name === name);

const applies = (group, tags) =>
  Object.entries(group?.applies_to ?? {}).every(([parent, labels]) => (tags[parent] ?? []).some((each) => labels.includes(each)));

function drawGroups(photos, chosen, draw, form) {
  const wanted = groups.filter((group) => photos.some((photo) => applies(group, { ...groupTags(photo), ...chosen })));
  for (const name of Object.keys(chosen)) if (!wanted.some((group) => group.name === name)) delete chosen[name];
  return wanted.map((group) => {
    const chips = [...group.labels, null].map((label) => makeChip(group, label, chosen, draw, form));
    return make("fieldset", {}, make("legend", {}, `Right ${group.name}`), ...chips);
  });
}

function groupTags(photo) {
  const found = {};
  for (const tag of photo.tags) (found[tag.group] ??= []).push(tag.label);
  return found;
}

function makeChip(group, label, chosen, draw, form) {
  const picked = chosen[group.name];
  const isPressed = picked !== undefined && (label === null ? picked.length === 0 : picked.includes(label));
  const press = () => {
    const now = toggle(group, label, picked, isPressed);
    if (now) chosen[group.name] = now;
    else delete chosen[group.name];
    draw();
    [...form.querySelectorAll("[data-chip]")].find((chip) => chip.dataset.chip === button.dataset.chip)?.focus();
  };
  const button = make("button", { type: "button", onclick: press, "aria-pressed": String(isPressed) }, label ?? "none");
  button.dataset.chip = `${group.name} ${label}`;
  return button;
}

// The labels that are chosen in the group after the press; null for no choice. A photo may show several species.
function toggle(group, label, picked, isPressed) {
  if (label === null) return isPressed ? null : [];
  if (!group.multi_label) return isPressed ? null : [label];
  const now = isPressed ? picked.filter((each) => each !== label) : [...(picked ?? []), label];
  return now.length ? now : null;
}

function drawActions(photos, chosen, onApply) {
  const apply = make("button", { class: "main", type: "button", disabled: !Object.keys(chosen).length, onclick: () => onApply({ ...chosen }) }, photos.length > 1 ? `Correct ${photos.length} photos` : "Correct");
  const undo = make("button", { type: "button", onclick: () => onApply(null) }, "Remove corrections");
  return make("div", { class: "row" }, apply, photos.some((photo) => photo.corrected) ? undo : null);
}
