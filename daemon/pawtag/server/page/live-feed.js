// Server-sent events, read by fetch, which can send a key. A lost connection goes on where it was.
import { request } from "./api.js";

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 15000;
const SILENCE_MS = 45000; // the server sends a comment every 15 s

export async function follow(start, { onPhoto, onGone, onReload, onConnection }) {
  let last = start;
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    try {
      for await (const event of readEvents(last, onConnection)) {
        pause = FIRST_PAUSE_MS;
        if (event.id) last = event.id;
        if (event.kind === "photo") onPhoto(event.data);
        if (event.kind === "gone") onGone(event.data.id);
        if (event.kind === "reload") last = await onReload();
      }
    } catch {
      // it is tried again below
    }
    onConnection(false);
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
    pause = Math.min(2 * pause, MAX_PAUSE_MS);
  }
}

async function* readEvents(after, onConnection) {
  const abort = new AbortController();
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
