/** What core serves about LoRA files; the pack has no route of its own. */

import { api } from "../../../scripts/api.js";

const FOLDER = "loras";

/**
 * The metadata of a file. Throws an Error named `missing` or `offline`.
 * Core answers 404 to a file without metadata as well as to none; its list of names tells them apart.
 */
export async function metadataOf(name) {
  const answer = await ask(`/view_metadata/${FOLDER}?filename=${encodeURIComponent(name)}`);
  if (answer.ok) return answer.json();
  if (answer.status !== 404) throw new Error("offline");
  const list = await ask(`/models/${FOLDER}`);
  if (list.ok && !(await list.json()).includes(name)) throw new Error("missing");
  return {};
}

let places = null;

/** Ask for the files' places again, the next time that one is needed. */
export function forgetPlaces() {
  places = null;
}

/**
 * Where the picture beside a file (or in its header) is served, or "". The route counts the folders of a kind, and
 * calls itself an experiment: without it there are no pictures, and nothing else is lost.
 */
export async function previewOf(name) {
  places ??= findPlaces();
  const place = (await places).get(name);
  const path = name.split(/[\\/]/).map(encodeURIComponent).join("/");
  return place === undefined ? "" : api.apiURL(`/experiment/models/preview/${FOLDER}/${place}/${path}`);
}

async function findPlaces() {
  try {
    const answer = await ask(`/experiment/models/${FOLDER}`);
    return new Map((answer.ok ? await answer.json() : []).map((file) => [file.name, file.pathIndex]));
  } catch {
    return new Map();
  }
}

async function ask(route) {
  try {
    return await api.fetchApi(route, { cache: "no-store" });
  } catch {
    throw new Error("offline");
  }
}
