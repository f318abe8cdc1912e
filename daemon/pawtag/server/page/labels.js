// The known labels, and why a tag was or was not given.
import { requestJson } from "./api.js";

export let groups = [];
let thresholds = null;
let loadedFor = "";

export async function loadLabels() {
  const found = await requestJson("labels");
  groups = found.groups;
  thresholds = found.thresholds;
}

// Loads the labels again if the model or the labels have changed, because the thresholds change too.
export async function followModel(status) {
  const now = JSON.stringify([status.labels, status.model?.id, status.model?.revision]);
  if (status.model && now !== loadedFor) {
    await loadLabels();
    loadedFor = now;
  }
}

export const percent = (score) => `${(100 * score).toFixed(score > 0.995 || score < 0.1 ? 1 : 0)}\u00a0%`;

// One sentence for each group of a record.
export function explain(record) {
  if (record.error) return [`${record.error.message} (${record.error.code})`];
  return Object.entries(record.scores).map(([group, scores]) => explainGroup(group, scores, record));
}

function explainGroup(name, scores, record) {
  if (record.corrected?.[name]) return `${name}: a person has corrected it.`;
  const group = groups.find((each) => each.name === name);
  const ranked = Object.entries(scores).filter(([label]) => label !== "none").sort((a, b) => b[1] - a[1]);
  if (!ranked.length || !group?.thresholds || !thresholds) return `${name}: see the scores.`;
  const [best, score] = ranked[0];
  const presence = 1 - (scores.none ?? 0);
  if (presence < thresholds.presence) {
    return `${name}: no tag. The chance of a pet is ${percent(presence)}; ${percent(thresholds.presence)} is needed.`;
  }
  const needed = group.thresholds[best];
  if (needed === undefined) return `${name}: see the scores.`;
  const reached = score >= needed ? "reaches" : "does not reach";
  return `${name}: ${best} with ${percent(score)} ${reached} its threshold of ${percent(needed)}.${explainNext(ranked[1], group, score >= needed)}`;
}

function explainNext(second, group, hasTag) {
  if (!second) return "";
  const [label, score] = second;
  const isTag = hasTag && group.multi_label && score >= thresholds.secondary;
  if (isTag) {
    const further = percent(thresholds.secondary);
    return ` ${label} with ${percent(score)} is a tag, too: it reaches the threshold of ${further} for further tags.`;
  }
  return ` Next is ${label} with ${percent(score)}.`;
}
