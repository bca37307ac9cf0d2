import { DIMMED, pointStyle, trace } from "./styles.js";

/** Draws clips without WebGL: the same, but slower. */
export class FlatPoints {
  constructor(canvas, clips) {
    this.canvas = canvas;
    this.clips = clips;
    this.context = canvas.getContext("2d");
    this.rows = new Uint32Array(0);
  }

  show(rows) {
    this.rows = rows;
  }

  paint({ column, dark, selected }) {
    const { names, codes } = this.clips.columns[column];
    this.codes = codes;
    this.styles = names.map((_, code) => pointStyle(this.clips, column, code, dark));
    this.selected = selected;
  }

  draw(view, { size, rings, ink, ground }) {
    const { canvas, context } = this;
    const unit = canvas.width / view.width;
    context.setTransform(unit, 0, 0, unit, 0, 0);
    context.globalAlpha = 1;
    context.fillStyle = `rgb(${ground})`;
    context.fillRect(0, 0, view.width, view.height);
    context.strokeStyle = `rgb(${ink})`;
    for (const row of this.rows) {
      const place = view.place(row);
      const { color, marker } = this.styles[this.codes[row]];
      context.globalAlpha = this.selected.size && !this.selected.has(row) ? DIMMED : 0.9;
      context.fillStyle = color;
      trace(context, marker, place, 0.4 * size);
      context.fill();
      if (!this.clips.isWrong(row)) continue;
      context.globalAlpha *= rings;
      trace(context, 0, place, 0.6 * size + 1.8);
      context.stroke();
    }
  }
}
