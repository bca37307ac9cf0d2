import { byId, counted, make } from "./dom.js";
import { List } from "./list.js";
import { MARKERS, pointStyle, trace } from "./styles.js";

const FEW = 12; // names that are found without a search

/** The names of the colored column: what each styles like, how many there are, which are hidden. */
export class Legend {
  /** changed() is called when names have been hidden or shown. */
  constructor(clips, filters, changed) {
    Object.assign(this, { clips, filters, changed });
    this.swatches = new Map();
    this.list = new List(byId("legend"), {
      lineHeight: 26,
      fill: (line, index) => this.#fill(line, index),
      walked: () => {},
      toggled: (index) => this.#toggle(this.codes[index]),
      entered: (index) => this.#isolate(this.codes[index]),
    });
    byId("find").addEventListener("input", () => this.#find());
    byId("show-all").addEventListener("click", () => this.#hideListed(0));
    byId("hide-all").addEventListener("click", () => this.#hideListed(1));
  }

  /** Show the names of a column. */
  show(column, dark) {
    this.column = column;
    this.dark = dark;
    this.swatches.clear();
    byId("find").value = "";
    byId("find").hidden = this.clips.columns[column].names.length <= FEW;
    this.#find();
  }

  /** Take new counts, one for each name. */
  count(counts) {
    this.counts = counts;
    this.list.redraw();
  }

  #find() {
    const wanted = byId("find").value.toLowerCase();
    const { names } = this.clips.columns[this.column];
    this.codes = [...names.keys()].filter((code) =>
      this.#name(code).toLowerCase().includes(wanted),
    );
    this.list.resize(this.codes.length);
  }

  #name(code) {
    const { name, names } = this.clips.columns[this.column];
    return names[code] ?? `(no ${name})`;
  }

  #fill(line, index) {
    const code = this.codes[index];
    const hidden = this.filters.hidden[this.column][code];
    const only = make("button", { type: "button", tabindex: -1, text: "only" });
    only.addEventListener("click", (event) => {
      event.stopPropagation();
      this.list.activate(index);
      this.#isolate(code);
    });
    line.classList.toggle("hidden", hidden);
    line.append(
      this.#swatch(code),
      make("span", { class: "name", text: this.#name(code) || "(blank)", title: this.#name(code) }),
      only,
      make("span", { class: "count", text: counted(this.counts?.[code] ?? 0) }),
    );
    line.addEventListener("click", () => {
      this.list.activate(index);
      this.#toggle(code);
    });
    return !hidden;
  }

  /** A picture of the name's marker; names with the same style share it. */
  #swatch(code) {
    const { color, marker } = pointStyle(this.clips, this.column, code, this.dark);
    const key = color + MARKERS[marker];
    if (!this.swatches.has(key)) {
      const canvas = make("canvas", { width: 32, height: 32 });
      const context = canvas.getContext("2d");
      context.fillStyle = color;
      trace(context, marker, [16, 16], 12);
      context.fill();
      this.swatches.set(key, canvas.toDataURL());
    }
    return make("img", { class: "swatch", src: this.swatches.get(key), alt: "" });
  }

  #toggle(code) {
    this.filters.hidden[this.column][code] ^= 1;
    this.changed();
  }

  #isolate(code) {
    this.filters.isolate(this.column, code);
    this.changed();
  }

  #hideListed(mark) {
    for (const code of this.codes) this.filters.hidden[this.column][code] = mark;
    this.changed();
  }
}
