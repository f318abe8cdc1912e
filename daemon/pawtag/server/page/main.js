import { openWithKey } from "./api.js";
import { find, say } from "./dom.js";
import { listenForPhotos } from "./drop.js";
import { loadLabels } from "./labels.js";
import { showPhotos } from "./photos.js";
import { watchState } from "./state.js";

const PAUSE_MS = 3000;

async function start() {
  listenForPhotos();
  for (const link of document.querySelectorAll("nav a")) openWithKey(link);
  watchState();
  for (;;) {
    try {
      await loadLabels();
      await showPhotos();
      return;
    } catch (error) {
      say(find("message"), error.message); // not ready yet: it is tried again
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

start();
