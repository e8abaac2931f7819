/** Where ComfyUI's front end meets the pack: a panel on every node of ours with a dropdown of LoRA files. */

import { app } from "../../../scripts/app.js";
import { forgetPlaces } from "./files.js";
import { after, attachPanel } from "./panel.js";
import { loadTexts } from "./texts.js";
import { dropdown } from "./words.js";

const PREFIX = "Palate";
const panels = new Set();

app.registerExtension({
  name: "palate.words",

  async init() {
    const href = new URL("../palate.css", import.meta.url).href;
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
    await loadTexts();
  },

  nodeCreated(node) {
    if (!node.comfyClass?.startsWith(PREFIX) || !dropdown(node, "lora_name")) return;
    const panel = attachPanel(node);
    panels.add(panel);
    after(node, "onRemoved", () => panels.delete(panel));
  },

  refreshComboInNodes() {
    forgetPlaces();
    for (const panel of panels) panel.refresh();
  },
});
