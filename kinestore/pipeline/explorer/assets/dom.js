/** The element of the page that has an id. */
export const byId = (id) => document.getElementById(id);

/**
 * Make an element. Text is set as text, so that no name is ever read as markup, and takes its
 * direction from its letters.
 */
export function make(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) {
    element.textContent = text;
    element.dir = "auto";
  }
  element.append(...children.filter(Boolean));
  return element;
}

/** Call a function once before the next picture, however often it is requested. */
export function oncePerFrame(callback) {
  let requested = false;
  return () => {
    if (requested) return;
    requested = true;
    requestAnimationFrame(() => {
      requested = false;
      callback();
    });
  };
}

/** A count as people read it. */
export const counted = (number) => number.toLocaleString("en");
