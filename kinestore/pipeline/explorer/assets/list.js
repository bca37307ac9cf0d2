import { make, oncePerFrame } from "./dom.js";

const SPARE = 4; // lines made above and below what is seen

/**
 * A listbox of any length: only the lines in sight are elements. Arrow keys, Home, End and the page
 * keys walk; the callbacks answer the rest.
 */
export class List {
  /**
   * @param box the element with the role; it scrolls.
   * @param fill (line, index) puts an item into a line and returns whether it is marked as selected.
   * @param walked (index) the keys or the mouse have come to an item.
   * @param toggled (index) of the space bar.
   * @param entered (index) of the enter key.
   */
  constructor(box, { lineHeight, fill, walked, toggled, entered }) {
    Object.assign(this, { box, lineHeight, fill, walked, toggled, entered });
    this.length = 0;
    this.active = -1;
    this.inner = make("div", { class: "lines", role: "presentation" });
    box.append(this.inner);
    this.pressed = false; // on a line: it must still be there when the button is let go
    this.redraw = oncePerFrame(() => this.pressed || this.#draw());
    box.addEventListener("pointerdown", (event) => (this.pressed = event.target !== box));
    for (const end of ["pointerup", "pointercancel"]) {
      window.addEventListener(end, () => {
        if (this.pressed) this.redraw();
        this.pressed = false;
      });
    }
    box.addEventListener("scroll", this.redraw);
    box.addEventListener("keydown", (event) => this.#press(event));
    box.addEventListener("focus", () => {
      const byKeys = box.matches(":focus-visible");
      if (byKeys && this.active < 0 && this.length) this.#walk(0);
    });
    new ResizeObserver(this.redraw).observe(box);
  }

  /** Show so many items. */
  resize(length, active = -1) {
    this.length = length;
    this.active = active;
    this.inner.style.height = `${length * this.lineHeight}px`;
    this.redraw();
  }

  /** Mark an item as the one that keys walk from, and scroll it into sight. */
  activate(index) {
    this.active = index;
    const { box, lineHeight } = this;
    const top = index * lineHeight;
    if (index >= 0) {
      if (top < box.scrollTop) box.scrollTop = top;
      const bottom = top + lineHeight - box.clientHeight;
      if (bottom > box.scrollTop) box.scrollTop = bottom;
    }
    this.redraw();
  }

  #walk(index) {
    this.activate(Math.min(Math.max(index, 0), this.length - 1));
    this.walked(this.active);
  }

  #press(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.lineHeight) - 1);
    const goals = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: this.length - 1,
    };
    if (!this.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in goals) this.#walk(goals[event.key]);
    else if (event.key === " " && this.active >= 0) this.toggled(this.active);
    else if (event.key === "Enter" && this.active >= 0) this.entered(this.active);
    else return;
    event.preventDefault();
  }

  #draw() {
    const { box, lineHeight, length } = this;
    const first = Math.max(0, Math.floor(box.scrollTop / lineHeight) - SPARE);
    const end = Math.ceil((box.scrollTop + box.clientHeight) / lineHeight) + SPARE;
    const lines = [];
    for (let index = first; index < Math.min(end, length); index++) lines.push(this.#line(index));
    this.inner.replaceChildren(...lines);
    const inSight = this.active >= first && this.active < Math.min(end, length);
    if (inSight) box.setAttribute("aria-activedescendant", `${box.id}-${this.active}`);
    else box.removeAttribute("aria-activedescendant");
  }

  #line(index) {
    const line = make("div", {
      class: index === this.active ? "line active" : "line",
      id: `${this.box.id}-${index}`,
      role: "option",
      "aria-setsize": this.length,
      "aria-posinset": index + 1,
    });
    line.style.height = `${this.lineHeight}px`;
    line.style.top = `${index * this.lineHeight}px`;
    line.setAttribute("aria-selected", this.fill(line, index));
    return line;
  }
}
