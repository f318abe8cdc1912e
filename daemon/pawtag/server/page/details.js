// The dialog about one photo: what the model saw, why, and what is right.
import { requestJson } from "./api.js";
import { isCorrectable, makeBars, makeThumbnail } from "./card.js";
import { makeCorrectionForm } from "./corrections.js";
import { find, make } from "./dom.js";
import { explain } from "./labels.js";

export async function openDetails(photo, { correct, retry }) {
  const dialog = find("details");
  const record = await requestJson(`photos/${photo.id}`);
  const close = () => dialog.close();
  const actions = makeActions(photo, close, { correct, retry });
  dialog.replaceChildren(
    make("h2", { id: "details-title" }, photo.name),
    photo.has_thumbnail ? makeThumbnail(photo) : "",
    make("p", { class: "note" }, photo.uri),
    ...explain(record).map((text) => make("p", {}, text)),
    record.error ? "" : makeBars(record.scores, record.tags),
    make("p", { class: "note" }, `Model ${record.model.id}${record.model.fallback ? " (fallback)" : ""}, ${record.tagged_at}`),
    actions,
    make("div", { class: "row" }, make("button", { type: "button", onclick: close }, "Close")),
  );
  dialog.showModal();
}

function makeActions(photo, close, { correct, retry }) {
  if (isCorrectable(photo)) return makeCorrectionForm([photo], (corrections) => (close(), correct([photo], corrections)));
  if (photo.status !== "failed" || photo.uri.startsWith("request:")) return "";
  const button = make("button", { class: "main", type: "button", onclick: () => (close(), retry([photo])) }, "Try again");
  return make("div", { class: "row" }, button);
}
