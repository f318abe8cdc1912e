// What the daemon does: model, sources, what waits and how long it takes.
import { requestJson } from "./api.js";
import { find, say } from "./dom.js";
import { followModel } from "./labels.js";
import { showFailures } from "./photos.js";

const POLL_MS = 3000;
const samples = [];

export async function watchState() {
  for (;;) {
    try {
      if (!document.hidden) await show(await requestJson("status"));
    } catch (error) {
      say(find("state"), `The server does not answer: ${error.message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function show(status) {
  await followModel(status);
  showFailures(status.failures);
  const model = status.model ? `${status.model.id} on ${status.model.engine}` : "no model yet";
  say(find("state"), `${status.ready ? "Ready" : `Not ready: ${status.reason}`}. pawtag ${status.version}, ${model}.`);
  showBanner(status);
  say(find("progress"), describeProgress(status));
}

function showBanner(status) {
  const lines = status.sources.filter((source) => source.reason).map((source) => `${source.name} is ${source.state}: ${source.reason}`);
  if (status.model?.fallback) {
    const text = `The embedded model tags until ${status.model.wanted} is on this machine.`;
    lines.push(`${text}${describeDownload(status.download)}`);
  }
  if (status.state_dir) lines.push(status.state_dir);
  if (status.dead_letters) lines.push(`${status.dead_letters} messages could not be used; see the log.`);
  const banner = find("banner");
  banner.hidden = !lines.length;
  say(banner, lines.join(" "));
}

function describeDownload(download) {
  if (!download) return "";
  const share = download.total_bytes ? ` (${Math.floor((100 * download.done_bytes) / download.total_bytes)} %)` : "";
  return ` ${Math.round(download.done_bytes / 1e6)} MB are downloaded${share}.`;
}

function describeProgress(status) {
  const sum = (name) => status.sources.reduce((total, source) => total + source[name], 0);
  const [done, waiting] = [sum("done"), sum("pending") + sum("in_flight")];
  samples.push([Date.now(), done]);
  if (samples.length > 10) samples.shift();
  const [[then, before]] = samples;
  const rate = (1000 * (done - before)) / Math.max(1, Date.now() - then);
  const watched = status.sources.map((source) => source.name).join(", ");
  if (!waiting) return `${watched}: ${done} photos are done since the start; none is waiting.`;
  const left = rate > 0 ? `, ${rate.toFixed(1)} photos a second, about ${describeTime(waiting / rate)} left` : "";
  return `${done} of ${done + waiting} photos are done${left}.`;
}

function describeTime(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
