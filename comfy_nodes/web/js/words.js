/** Which words a node will use, by what its widgets say; the Python of each node decides the same way. */

const WATCHED = ["lora_name", "words", "pair", "source", "library_pair", "positive_word", "negative_word"];

/** The node's widget of that name. */
export function widget(node, name) {
  return node.widgets?.find((each) => each.name === name);
}

/** The node's dropdown of that name; other nodes may have another kind of input under it. */
export function dropdown(node, name) {
  const found = widget(node, name);
  return found?.type === "combo" ? found : undefined;
}

/** Every widget that has a say in it. */
export function watched(node) {
  return WATCHED.map((name) => widget(node, name)).filter(Boolean);
}

/** Whether the words come from the LoRA, the library or the user's typing. */
export function sourceOf(node) {
  const source = widget(node, "source");
  if (source) return source.value;
  return typed(node).positive || typed(node).negative ? "typed" : "LoRA";
}

/** The pair in use, each side perhaps empty; `about` is what the LoRA says of itself. */
export function pairOf(node, about) {
  const source = sourceOf(node);
  if (source === "typed") return typed(node);
  if (source === "LoRA") return about.pairs[(widget(node, "pair")?.value ?? 1) - 1] ?? { positive: "", negative: "" };
  const [positive, negative] = widget(node, "library_pair").value.split(" / ");
  return { positive, negative };
}

/** Set a widget as a click in its own dropdown would. */
export function choose(node, name, value) {
  const chosen = widget(node, name);
  chosen.value = value;
  chosen.callback?.(value);
  node.setDirtyCanvas?.(true, true);
}

function typed(node) {
  const read = (name) => String(widget(node, name)?.value ?? "").trim();
  return { positive: read("positive_word"), negative: read("negative_word") };
}
