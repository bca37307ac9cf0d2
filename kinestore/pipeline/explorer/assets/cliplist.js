import { byId } from "./dom.js";
import { List } from "./list.js";
import { summary } from "./clip_info.js";

/** The clips that are shown, a line each, in the order of the rows. */
export class ClipList {
  /** chosen(row) when a line is walked to; toggled(row) to select it or not any more. */
  constructor(clips, selected, { chosen, toggled }) {
    this.rows = new Uint32Array(0);
    this.list = new List(byId("clips"), {
      lineHeight: clips.hasThumbnails ? 58 : 42,
      fill: (line, index) => {
        const row = this.rows[index];
        line.append(...summary(clips, row));
        line.addEventListener("click", () => {
          this.list.activate(index);
          chosen(row);
        });
        return selected.has(row);
      },
      walked: (index) => chosen(this.rows[index]),
      toggled: (index) => toggled(this.rows[index]),
      entered: (index) => toggled(this.rows[index]),
    });
  }

  /** List these rows; the chosen one stays where keys walk from. */
  show(rows, chosen) {
    this.rows = rows;
    this.list.resize(rows.length);
    this.choose(chosen);
  }

  /** Go to a row, if it is listed. */
  choose(row) {
    this.list.activate(this.rows.indexOf(row));
  }

  redraw() {
    this.list.redraw();
  }
}
