/** What the chosen LoRA says of itself, on the node. */

import { app } from "../../../scripts/app.js";
import { about } from "./about.js";
import { chips } from "./chips.js";
import { make, picture } from "./dom.js";
import { metadataOf, previewOf } from "./files.js";
import { pick } from "./picker.js";
import { say } from "./texts.js";
import { choose, dropdown, pairOf, sourceOf, watched, widget } from "./words.js";

const NONE = "none"; // as in lora_files.py
const MARGIN = 10; // that the front end leaves around an element

/** One node's panel: it reads the file anew whenever `refresh` is called, and draws itself anew with `draw`. */
export class Panel {
  constructor(node) {
    this.node = node;
    this.file = { about: about({}), preview: "", failure: "" };
    this.body = make("div", { className: "palate-body" });
    this.element = make("div", { className: "palate-panel" }, this.body);
    this.last = "";
    this.height = this.tallest = 0;
    this.isLoaded = false;
    this.attach();
    this.draw();
  }

  /** Last among the widgets, and never saved: a workflow keeps its widgets' values by their places. */
  attach() {
    const height = () => this.height + 2 * MARGIN;
    const options = { serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height, margin: MARGIN };
    this.node.addDOMWidget("palate_words", "palate", this.element, options).serialize = false;
    new ResizeObserver(() => this.fit()).observe(this.body);
    // The canvas has shortcuts for these keys; a focused button needs them itself.
    this.element.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && event.stopPropagation());
    this.element.addEventListener("wheel", (event) => app.canvas.processMouseWheel(event), { passive: false });
  }

  /**
   * The node grows with its panel and never shrinks by itself. A new one grows by as much as the panel does, so that
   * its prompts keep their room; one out of a workflow has the size that it was saved with.
   */
  fit() {
    if (this.height === this.body.offsetHeight || !this.body.isConnected) return;
    this.height = this.body.offsetHeight;
    const more = this.isLoaded ? 0 : Math.max(0, this.height - this.tallest);
    this.tallest = Math.max(this.tallest, this.height);
    const [width, height] = this.node.size;
    this.node.setSize([width, Math.max(height + more, this.node.computeSize()[1])]);
    this.node.setDirtyCanvas(true, true);
  }

  /** Out of a workflow. */
  loaded() {
    this.isLoaded = true;
    this.refresh();
  }

  /** Read the chosen file. An answer that comes after the next choice is dropped. */
  async refresh() {
    const name = widget(this.node, "lora_name").value;
    this.reading = name;
    const file = !name || name === NONE ? { about: about({}), preview: "", failure: "noneChosen" } : await read(name);
    if (this.reading !== name) return;
    this.file = file;
    this.draw();
  }

  /** What the node showed when it ran. */
  ran(text) {
    this.last = text;
    this.draw();
  }

  /** Everything anew; the keyboard stays where it was. */
  draw() {
    const side = this.body.contains(document.activeElement) ? document.activeElement.dataset.side : undefined;
    const facts = make("div", { className: "palate-facts" }, ...this.words(), ...this.details());
    const head = make("div", { className: "palate-head" }, facts);
    if (this.file.preview) head.prepend(picture(this.file.preview, say("preview")));
    this.body.replaceChildren(head, this.button(), ...this.lastRun());
    if (side) this.body.querySelector(`[data-side="${side}"]`)?.focus();
  }

  words() {
    const pair = pairOf(this.node, this.file.about);
    if (!pair.positive && !pair.negative) return this.sentences();
    const change = (value) => choose(this.node, "words", value);
    return [chips(pair, dropdown(this.node, "words")?.value, change), ...this.sentences()];
  }

  /** Quiet lines: what is wrong, or that there is nothing to show. */
  sentences() {
    const { about: said, failure } = this.file;
    const silent = !failure && sourceOf(this.node) === "LoRA" && !said.pairs.length;
    const names = [failure, ...said.notes, silent ? "noWords" : ""].filter(Boolean);
    return names.map((name) => make("p", { className: "palate-quiet", textContent: say(name) }));
  }

  details() {
    const { method, base, family, strength, pairs } = this.file.about;
    const several = pairs.length > 1 && sourceOf(this.node) === "LoRA";
    const rows = [
      ["method", method],
      ["base", [base.split("/").at(-1), family].filter(Boolean).join(" · "), base],
      ["strength", strength ? say("range", { low: strength[0], high: strength[1] }) : ""],
      ["pair", several ? say("which", { pair: widget(this.node, "pair")?.value ?? 1, pairs: pairs.length }) : ""],
    ].filter(([, value]) => value);
    const cells = rows.flatMap(([name, value, whole]) => [
      make("dt", { textContent: say(name) }),
      make("dd", { textContent: value, title: whole ?? value }),
    ]);
    return rows.length ? [make("dl", { className: "palate-rows" }, ...cells)] : [];
  }

  button() {
    const button = make("button", { type: "button", className: "palate-choose", textContent: say("choose") });
    button.dataset.side = "choose"; // so that the keyboard comes back to it
    button.addEventListener("click", () => this.pick());
    return button;
  }

  async pick() {
    const { value, options } = widget(this.node, "lora_name");
    const names = typeof options.values === "function" ? options.values() : options.values;
    const chosen = await pick(names, value);
    if (chosen !== null) choose(this.node, "lora_name", chosen);
    this.body.querySelector(".palate-choose").focus();
  }

  lastRun() {
    if (!this.last) return [];
    const text = make("pre", { textContent: this.last });
    return [make("details", { className: "palate-last" }, make("summary", { textContent: say("lastRun") }), text)];
  }
}

/** A panel for the node, redrawn whenever a widget that has a say changes, a workflow is loaded or the node ran. */
export function attachPanel(node) {
  const panel = new Panel(node);
  for (const each of watched(node)) {
    after(each, "callback", () => (each.name === "lora_name" ? panel.refresh() : panel.draw()));
  }
  after(node, "onConfigure", () => panel.loaded());
  after(node, "onExecuted", (output) => output?.text && panel.ran([output.text].flat().join("\n")));
  panel.refresh();
  return panel;
}

async function read(name) {
  const preview = await previewOf(name);
  try {
    return { about: about(await metadataOf(name)), preview, failure: "" };
  } catch (error) {
    return { about: about({}), preview: "", failure: error.message };
  }
}

/** Call `more` after whatever is called under that name already. */
export function after(owner, name, more) {
  const before = owner[name];
  owner[name] = function (...values) {
    const result = before?.apply(this, values);
    more(...values);
    return result;
  };
}
