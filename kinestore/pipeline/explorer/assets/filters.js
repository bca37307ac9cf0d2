/** What narrows the clips that are shown. */
export class Filters {
  constructor(clips) {
    this.clips = clips;
    /** For each column, a 1 for each of its names that is hidden. */
    this.hidden = clips.columns.map(({ names }) => new Uint8Array(names.length));
    this.clear();
  }

  clear() {
    for (const marks of this.hidden) marks.fill(0);
    this.search = "";
    this.wrongOnly = false;
    this.selectedOnly = false;
  }

  /** How many names of a column are not hidden. */
  numKept(column) {
    return this.hidden[column].reduce((kept, mark) => kept - mark, this.hidden[column].length);
  }

  /** Show a name of a column alone, or all if it already is. */
  isolate(column, code) {
    const alone = this.numKept(column) === 1 && !this.hidden[column][code];
    this.hidden[column].fill(alone ? 0 : 1);
    this.hidden[column][code] = 0;
  }

  /**
   * The rows that are shown, in order, and how many of each name of one column would be, if none of
   * that column's were hidden.
   */
  apply({ selected, column }) {
    const { clips, hidden } = this;
    const words = normal(this.search).split(/\s+/).filter(Boolean);
    const texts = words.length ? this.#texts() : [];
    const narrowing = [...hidden.keys()].filter((i) => i !== column && hidden[i].includes(1));
    const own = clips.columns[column].codes;
    const counts = new Uint32Array(hidden[column].length);
    const rows = [];
    for (let row = 0; row < clips.num; row++) {
      if (this.wrongOnly && !clips.isWrong(row)) continue;
      if (this.selectedOnly && !selected.has(row)) continue;
      if (narrowing.some((i) => hidden[i][clips.columns[i].codes[row]])) continue;
      if (!words.every((word) => texts[row].includes(word))) continue;
      counts[own[row]]++;
      if (!hidden[column][own[row]]) rows.push(row);
    }
    return { rows: Uint32Array.from(rows), counts };
  }

  /** What is searched, a text for each row; made when first needed. */
  #texts() {
    const { label, caption, predicted, file } = this.clips;
    this.texts ??= Array.from({ length: this.clips.num }, (_, row) =>
      normal([label, caption, predicted, file].map((part) => part(row) ?? "").join("\n")),
    );
    return this.texts;
  }
}

const normal = (text) => text.normalize("NFKC").toLowerCase();
