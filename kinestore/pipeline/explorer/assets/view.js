const FURTHEST = 20000; // times as large as the whole map

/**
 * What part of the map is seen: its middle, and pixels of the page a unit of the map. Places are
 * in pixels from the map's upper left corner.
 */
export class View {
  constructor(at) {
    this.at = at;
    this.width = this.height = 1;
    this.whole = true;
    this.fit();
  }

  /** Show all. */
  fit() {
    let [x, y] = [0, 0];
    for (let i = 0; i < this.at.length; i += 2) {
      x = Math.max(x, Math.abs(this.at[i]));
      y = Math.max(y, Math.abs(this.at[i + 1]));
    }
    this.x = this.y = 0;
    this.whole = true;
    this.fitting = 0.46 * Math.min(this.width / (x || 1), this.height / (y || 1));
    this.scale = this.fitting;
  }

  /** Take another size, and show all if all was shown. */
  resize(width, height) {
    this.width = width;
    this.height = height;
    if (this.whole) this.fit();
  }

  /** How many times as large as the whole map. */
  get zoom() {
    return this.scale / this.fitting;
  }

  /** Where a row is drawn. */
  place(row) {
    return [
      (this.at[2 * row] - this.x) * this.scale + this.width / 2,
      (this.y - this.at[2 * row + 1]) * this.scale + this.height / 2,
    ];
  }

  pan(right, down) {
    this.x -= right / this.scale;
    this.y += down / this.scale;
    this.whole = false;
  }

  /** Zoom by a factor; what lies at a place stays there. */
  zoomBy(factor, [left, top] = [this.width / 2, this.height / 2]) {
    const scale = Math.min(
      Math.max(this.scale * factor, this.fitting / 4),
      this.fitting * FURTHEST,
    );
    const [right, down] = [left - this.width / 2, top - this.height / 2];
    this.x += right / this.scale - right / scale;
    this.y -= down / this.scale - down / scale;
    this.scale = scale;
    this.whole = false;
  }

  /** Bring a row in, if it is out of sight. */
  reveal(row) {
    const [left, top] = this.place(row);
    if (left > 0 && left < this.width && top > 0 && top < this.height) return;
    this.x = this.at[2 * row];
    this.y = this.at[2 * row + 1];
    this.whole = false;
  }

  /** The row nearest to a place, of some rows; -1 if none is within so many pixels. */
  nearest(rows, [left, top], within) {
    const x = this.x + (left - this.width / 2) / this.scale;
    const y = this.y - (top - this.height / 2) / this.scale;
    let best = (within / this.scale) ** 2;
    let found = -1;
    for (const row of rows) {
      const distance = (this.at[2 * row] - x) ** 2 + (this.at[2 * row + 1] - y) ** 2;
      if (distance <= best) [best, found] = [distance, row];
    }
    return found;
  }

  /** Which of some rows lie inside a polygon of places, by the even-odd rule. */
  inside(rows, polygon) {
    return [...rows].filter((row) => contains(polygon, this.place(row)));
  }
}

function contains(polygon, [left, top]) {
  let odd = false;
  polygon.forEach(([x, y], i) => {
    const [x0, y0] = polygon.at(i - 1);
    if (y > top !== y0 > top && left < ((x0 - x) * (top - y)) / (y0 - y) + x) odd = !odd;
  });
  return odd;
}
