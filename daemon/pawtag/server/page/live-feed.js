// Server-sent events, read by fetch, which can send a key. After a lost connection, it resumes at the last event.
import { request } from "./api.js";

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 15000;
const SILENCE_MS = 45000; // the server sends a comment every 15 s

export async function follow(start, { onPhoto, onGone, onReload, onConnection }) {
  let last = start;
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    await untilVisible();
    try {
      for await (const event of readEvents(last, onConnection)) {
        if (event.kind === "photo") onPhoto(event.data);
        if (event.kind === "gone") onGone(event.data.id);
        if (event.kind === "reload") last = await onReload();
        else last = event.id;
        pause = FIRST_PAUSE_MS;
      }
    } catch (error) {
      console.debug(error); // the connection ended: it is tried again
    }
    if (document.hidden) continue;
    onConnection(false);
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
    pause = Math.min(2 * pause, MAX_PAUSE_MS);
  }
}

// A browser opens six connections to a server at most: a page that nobody sees must not keep one.
function untilVisible() {
  return new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", () => document.hidden || resolve());
  });
}

async function* readEvents(after, onConnection) {
  const abort = new AbortController();
  const leave = () => document.hidden && abort.abort();
  document.addEventListener("visibilitychange", leave);
  let silence = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    const response = await request(`events?after=${after}`, { signal: abort.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    onConnection(true);
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event) yield event;
      }
    }
  } finally {
    document.removeEventListener("visibilitychange", leave);
    clearTimeout(silence);
    abort.abort();
  }
}

function parseEvent(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = value;
  }
  return fields.data ? { id: fields.id, kind: fields.event, data: JSON.parse(fields.data) } : null;
}
