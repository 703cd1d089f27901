// Elements, in a line each.

/** Return a new element; `of` has its properties, of which `data` and names with a dash are attributes. */
export function make(name, of = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(of)) {
    if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Return what the server has made, as nodes; scripts in it would not run. */
export const rendered = (html) => [...new DOMParser().parseFromString(html, "text/html").body.childNodes];
