// Requests to the server of this page, also below a path prefix. The key is never part of a URL.
import { find, say } from "./dom.js";

const BASE = new URL("..", import.meta.url);
const STORED_KEY = "pawtag-key";
let asking = null;

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function request(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(STORED_KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    const response = await fetch(new URL(path, BASE), { cache: "no-store", ...options, headers });
    if (response.status !== 401) return response.ok ? response : refuse(response);
    await askForKey(key);
  }
}

export async function requestJson(path, options = {}) {
  return (await request(path, options)).json();
}

async function refuse(response) {
  let detail = `The server answers ${response.status}.`;
  try {
    detail = (await response.json()).detail;
  } catch {
    // no problem document: a proxy answered
  }
  throw new Refused(response.status, detail);
}

// One dialog for all requests that wait for the key. `refused` is the key that was not accepted.
function askForKey(refused) {
  if (refused !== sessionStorage.getItem(STORED_KEY)) return Promise.resolve();
  asking ??= new Promise((resolve) => {
    const dialog = find("key");
    const show = (problem) => {
      say(find("key-problem"), problem);
      if (!dialog.open) dialog.showModal();
    };
    dialog.onclose = () => {
      const key = find("key-value").value.trim();
      find("key-value").value = "";
      if (!/^[\x21-\x7e]+$/.test(key)) return show(key ? "A key has only ASCII letters, digits and symbols." : "");
      sessionStorage.setItem(STORED_KEY, key);
      dialog.onclose = asking = null;
      resolve();
    };
    show(refused ? "That key is not accepted." : "");
  });
  return asking;
}

// A browser sends no key when it opens a link. If there is a key, the page fetches the data itself.
export function openWithKey(link) {
  link.addEventListener("click", async (event) => {
    if (!sessionStorage.getItem(STORED_KEY)) return;
    event.preventDefault();
    const response = await request(link.getAttribute("href"));
    window.open(URL.createObjectURL(new Blob([await response.blob()], { type: "text/plain" })));
  });
}
