/** The two words of a pair as chips. Where the node has an input `words`, they are buttons that switch it. */

import { make } from "./dom.js";
import { unescape } from "./hostile.js";
import { say } from "./texts.js";

const SIDES = { positive: "+", negative: "−" };

/** Which words a choice of the input `words` switches on. */
export function isOn(side, words) {
  return words === "both" || words === side;
}

/** The choice after one side was switched. */
export function switched(side, words) {
  const on = Object.keys(SIDES).filter((each) => isOn(each, words) !== (each === side));
  return on.length === 2 ? "both" : on[0] ?? "none";
}

/** The chips of a pair; `words` undefined: they only show. `change` is told the new choice. */
export function chips(pair, words, change) {
  const shown = Object.keys(SIDES).filter((side) => pair[side]);
  return make("div", { className: "palate-chips" }, ...shown.map((side) => chip(side, pair[side], words, change)));
}

function chip(side, word, words, change) {
  const parts = [make("span", { className: "palate-sign", textContent: SIDES[side], aria: { hidden: true } }),
    make("span", { className: "palate-word", textContent: unescape(word) })];
  const className = `palate-chip palate-${side}`;
  if (words === undefined) return make("span", { className, title: say(side) }, ...parts);
  const on = isOn(side, words);
  const aria = { pressed: on, label: `${say(side)}: ${unescape(word)}` };
  const button = make("button", { type: "button", className, title: say(on ? "switchOff" : "switchOn"), aria }, ...parts);
  button.addEventListener("click", () => change(switched(side, words)));
  button.dataset.side = side;
  return button;
}
