/** The words on screen, out of locales/<language>/main.json, in the language that ComfyUI is set to. */

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

let translations = {};

/** Ask the server once for every language. */
export async function loadTexts() {
  const answer = await api.fetchApi("/i18n");
  translations = answer.ok ? await answer.json() : {};
}

/** The text of that name with its {places} filled; English where a language lacks it. */
export function say(name, values = {}) {
  const text = languages().map((each) => translations[each]?.palate?.[name]).find(Boolean) ?? name;
  return text.replace(/\{(\w+)\}/g, (_, place) => values[place]);
}

function languages() {
  const chosen = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  return [chosen, chosen.split("-")[0], "en"];
}
