/** The dialog in which a LoRA is chosen: search, folders, words and pictures; all of it by keyboard, too. */

import { about } from "./about.js";
import { make, picture } from "./dom.js";
import { metadataOf, previewOf } from "./files.js";
import { unescape } from "./hostile.js";
import { say } from "./texts.js";

const AT_ONCE = 4; // files asked about at a time
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };

/** The name that the user chose of `names`, or null. */
export function pick(names, current) {
  return new Promise((resolve) => new Picker(names, current, resolve).open());
}

class Picker {
  constructor(names, current, resolve) {
    this.rows = names.map((name) => new Row(name, name === current, () => this.close(name)));
    this.resolve = resolve;
    this.chosen = null;
    this.search = make("input", { type: "search", className: "palate-search", placeholder: say("search"),
      aria: { label: say("search") } });
    this.folder = this.folders();
    this.list = make("ul", { className: "palate-list" }, ...this.rows.map((row) => row.element));
    this.count = make("p", { className: "palate-quiet", aria: { live: "polite" } });
    this.dialog = this.build();
  }

  build() {
    const close = make("button", { type: "button", className: "palate-close", textContent: say("cancel") });
    close.addEventListener("click", () => this.close(null));
    const bar = make("div", { className: "palate-bar" }, this.search, this.folder);
    const foot = make("div", { className: "palate-foot" }, this.count, close);
    const title = make("h2", { textContent: say("title") });
    const dialog = make("dialog", { className: "palate-dialog", aria: { label: say("title") } }, title, bar, this.list, foot);
    this.search.addEventListener("input", () => this.filter());
    this.folder.addEventListener("change", () => this.filter());
    dialog.addEventListener("keydown", (event) => this.key(event));
    dialog.addEventListener("click", (event) => event.target === dialog && this.close(null)); // beside it
    dialog.addEventListener("close", () => this.ended());
    return dialog;
  }

  open() {
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.filter();
    this.search.focus();
    this.rows.find((row) => row.isCurrent)?.element.scrollIntoView({ block: "center" });
    const waiting = [...this.rows];
    for (let worker = 0; worker < AT_ONCE; worker += 1) this.fill(waiting);
  }

  close(name) {
    this.chosen = name;
    this.dialog.close();
  }

  ended() {
    this.dialog.remove();
    this.resolve(this.chosen);
  }

  /** Ask about one file after the other, as long as the dialog is open. */
  async fill(waiting) {
    while (waiting.length && this.dialog.open) {
      await waiting.shift().fill();
      if (this.search.value) this.filter();
    }
  }

  /** A list of folders; hidden where there is only one. */
  folders() {
    const found = [...new Set(this.rows.map((row) => row.folder))].sort();
    const options = found.map((folder) => make("option", { value: folder, textContent: folder || say("topFolder") }));
    const every = make("option", { value: "*", textContent: say("everyFolder") });
    return make("select", { className: "palate-folder", hidden: found.length < 2, aria: { label: say("folder") } },
      every, ...options);
  }

  filter() {
    const parts = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of this.rows) {
      const inside = this.folder.value === "*" || row.folder === this.folder.value;
      row.element.hidden = !inside || !parts.every((part) => row.text.includes(part));
    }
    const shown = this.seen().length;
    this.count.textContent = shown ? say("count", { shown, all: this.rows.length }) : say("nothingFound");
  }

  seen() {
    return this.rows.filter((row) => !row.element.hidden);
  }

  /** Arrows walk the list, Enter in the search takes its first row; nothing reaches the canvas behind. */
  key(event) {
    event.stopPropagation();
    const buttons = this.seen().map((row) => row.button);
    const place = buttons.indexOf(document.activeElement);
    if (event.key === "Enter" && event.target === this.search) buttons[0]?.click();
    if (!(event.key in STEPS) || event.target === this.folder || (place < 0 && event.key !== "ArrowDown")) return;
    event.preventDefault();
    const next = place + STEPS[event.key];
    if (next < 0 && event.key === "ArrowUp") this.search.focus();
    else buttons[Math.min(Math.max(next, 0), buttons.length - 1)]?.focus();
  }
}

/** One file: what is known at once, and what `fill` adds. */
class Row {
  constructor(name, isCurrent, choose) {
    const parts = name.split(/[\\/]/);
    this.name = name;
    this.isCurrent = isCurrent;
    this.folder = parts.slice(0, -1).join("/");
    this.text = name.toLowerCase();
    this.facts = make("span", { className: "palate-row-facts" });
    this.frame = picture("", "");
    const title = make("span", { className: "palate-row-name", textContent: parts.at(-1) });
    const folder = make("span", { className: "palate-row-folder", textContent: this.folder });
    const body = make("span", { className: "palate-row-body" }, make("span", { className: "palate-row-title" }, title, folder), this.facts);
    const aria = isCurrent ? { current: true } : {};
    this.button = make("button", { type: "button", className: "palate-row", title: name, aria }, this.frame, body);
    this.button.addEventListener("click", choose);
    this.element = make("li", {}, this.button);
  }

  async fill() {
    if (!this.name.endsWith(".safetensors")) return; // "none"
    try {
      const said = about(await metadataOf(this.name));
      const words = said.pairs.map((pair) => `+ ${unescape(pair.positive)}  − ${unescape(pair.negative)}`);
      const facts = [...words.slice(0, 2), said.method, said.family].filter(Boolean);
      this.facts.textContent = facts.length ? facts.join("  ·  ") : say("noWords");
      this.text = [this.name, ...words, said.method, said.family, said.base].join(" ").toLowerCase();
      const url = await previewOf(this.name);
      const frame = picture(url, say("preview"));
      this.frame.replaceWith(frame);
      this.frame = frame;
    } catch (error) {
      this.facts.textContent = say(error.message);
    }
  }
}
