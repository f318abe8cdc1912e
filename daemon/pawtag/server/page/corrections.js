// Chips of the known labels: what is right for one photo or for many.
import { make } from "./dom.js";
import { groups } from "./labels.js";

const applies = (group, species) =>
  Object.entries(group.applies_to ?? {}).every(([parent, labels]) => (species[parent] ?? []).some((each) => labels.includes(each)));

// The form; `onApply` gets the corrections, or null to take them back.
export function makeCorrectionForm(photos, onApply) {
  const chosen = {};
  const form = make("div", { class: "corrections" });
  const draw = () => form.replaceChildren(...drawGroups(photos, chosen, draw), drawActions(photos, chosen, onApply));
  draw();
  return form;
}

function drawGroups(photos, chosen, draw) {
  const species = photos.length === 1 ? { ...groupTags(photos[0]), ...chosen } : chosen;
  return groups.filter((group) => applies(group, species)).map((group) => {
    const buttons = [...group.labels, null].map((label) => makeChip(group, label, chosen, draw));
    return make("fieldset", {}, make("legend", {}, `Right ${group.name}`), ...buttons);
  });
}

function groupTags(photo) {
  const found = {};
  for (const tag of photo.tags) (found[tag.group] ??= []).push(tag.label);
  return found;
}

function makeChip(group, label, chosen, draw) {
  const picked = chosen[group.name];
  const isPressed = picked !== undefined && (label === null ? picked.length === 0 : picked.includes(label));
  const press = () => {
    if (isPressed) delete chosen[group.name];
    else chosen[group.name] = label === null ? [] : [label];
    const name = `${group.name} ${label}`;
    draw();
    [...document.querySelectorAll("[data-chip]")].find((each) => each.dataset.chip === name && each.offsetParent)?.focus();
  };
  const button = make("button", { type: "button", onclick: press, "aria-pressed": String(isPressed) }, label ?? "none");
  button.dataset.chip = `${group.name} ${label}`;
  return button;
}

function drawActions(photos, chosen, onApply) {
  const apply = make("button", { class: "main", type: "button", disabled: !Object.keys(chosen).length, onclick: () => onApply({ ...chosen }) }, photos.length > 1 ? `Correct ${photos.length} photos` : "Correct");
  const undo = make("button", { type: "button", onclick: () => onApply(null) }, "Take corrections back");
  return make("div", { class: "row" }, apply, photos.some((photo) => photo.corrected) ? undo : null);
}
