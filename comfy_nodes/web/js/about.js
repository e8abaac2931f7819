/**
 * What a LoRA file says of itself, by the rules of header.py and logic/about.py; a test holds both to one table.
 * Only this display depends on it: the server reads the file again by its own rules.
 */

import { line, word } from "./hostile.js";

const KEY = "palate";
const LONGEST = 65_536; // characters of JSON
const MOST_PAIRS = 16;
const NEEDED = ["method", "family", "base"];
const NOTHING = { family: "", method: "", base: "", strength: null, pairs: [], notes: [] };

/** The header of safetensors metadata, cleaned. Never throws; `notes` are names of what could not be used. */
export function about(metadata) {
  if (!isObject(metadata) || !Object.hasOwn(metadata, KEY)) return NOTHING;
  const content = parse(metadata[KEY]);
  const strength = content && range(content);
  if (!strength) return { ...NOTHING, notes: ["unreadable"] };
  return {
    family: line(content.family, 40),
    method: line(content.method, 40),
    base: line(content.base, 120),
    strength,
    ...pairs(Object.hasOwn(content, "words") ? content.words : []),
  };
}

/** The header's object, or null for what is none. */
function parse(text) {
  if (typeof text !== "string" || text.length > 2 * LONGEST || [...text].length > LONGEST) return null;
  try {
    const content = JSON.parse(text);
    return isObject(content) && NEEDED.every((name) => Object.hasOwn(content, name)) ? content : null;
  } catch {
    return null;
  }
}

/** Two finite numbers, or null. */
function range(content) {
  const value = Object.hasOwn(content, "strength") ? content.strength : [0.5, 1];
  return Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) ? value : null;
}

/** The usable pairs in their order, each once, and why the others are not. */
function pairs(entries) {
  if (!Array.isArray(entries)) return { pairs: [], notes: ["wordsNoList"] };
  const found = new Map();
  const notes = new Set();
  for (const entry of entries.slice(0, MOST_PAIRS)) {
    try {
      if (!isObject(entry)) throw new Error("pairNone");
      const pair = { positive: word(entry.positive), negative: word(entry.negative) };
      found.set(JSON.stringify(pair), pair);
    } catch (error) {
      notes.add(error.message);
    }
  }
  return { pairs: [...found.values()], notes: [...notes] };
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
