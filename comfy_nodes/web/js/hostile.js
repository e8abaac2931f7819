/**
 * Text out of a downloaded file: whoever wrote it is unknown, and it goes onto the screen.
 * The rules are those of logic/hostile.py; a test holds both to one table.
 */

export const LONGEST = 200; // characters
const EMBEDDING = "embedding:"; // makes ComfyUI open a file
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** One short line without anything invisible; "" for what is no text. */
export function line(text, longest = LONGEST) {
  if (typeof text !== "string") return "";
  const start = first(text.slice(0, 20 * longest), 10 * longest); // a character is at most two units long
  return first(start.replace(UNSEEN, " ").split(/\s+/).filter(Boolean).join(" "), longest).trimEnd();
}

/** A control word as the server sends it, its parentheses escaped; throws the name of what is wrong with it. */
export function word(text) {
  const plain = line(line(text).replace(/[<>\\]/g, ""));
  if (!plain) throw new Error("wordEmpty");
  if (plain.toLowerCase().includes(EMBEDDING)) throw new Error("wordEmbedding");
  return plain.replace(/[()]/g, "\\$&");
}

/** The word as a person reads it. */
export function unescape(text) {
  return text.replace(/\\([()])/g, "$1");
}

/** That many characters, not halves of them. */
function first(text, count) {
  return [...text].slice(0, count).join("");
}
