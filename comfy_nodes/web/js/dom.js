/** Elements. Whatever is text stays text: nothing here, or anywhere in this folder, reads a string as HTML. */

/** An element with properties (class, title ...), attributes under `aria`, and children. */
export function make(tag, { aria = {}, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

/** A square for a file's picture; a neutral block until it is there, and if it never comes. */
export function picture(url, hint) {
  const frame = make("span", { className: "palate-picture" });
  if (url) {
    const image = make("img", { src: url, alt: hint, loading: "lazy", draggable: false });
    image.addEventListener("error", () => image.remove());
    frame.append(image);
  }
  return frame;
}
