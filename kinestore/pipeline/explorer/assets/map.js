import { byId, oncePerFrame } from "./dom.js";
import { drawOverlay } from "./overlay.js";
import { listen } from "./pointer.js";
import { startPoints } from "./points.js";
import { View } from "./view.js";

const CLEAR_RINGS = 1000; // of the whole map
const NEAR = 14; // pixels from a point that still mean it

/** The map: draws the clips, and reports the clip under the pointer. */
export class ClipMap {
  /** on: hovered(row), chosen(row), lassoed(rows); a row is -1 if none is meant. */
  constructor(clips, on) {
    this.clips = clips;
    this.on = on;
    this.view = new View(clips.at);
    this.rows = new Uint32Array(0);
    this.marks = { chosen: -1, hovered: -1, near: [], lasso: [] };
    this.lassoing = false;
    this.redraw = oncePerFrame(() => this.#draw());
    this.points = startPoints(clips, (points) => this.#replace(points));
    this.#listen();
    this.#resize();
    new ResizeObserver(() => this.#resize()).observe(byId("map"));
  }

  /** Draw these rows alone. */
  show(rows) {
    this.rows = rows;
    this.numWrong = rows.filter(this.clips.isWrong).length;
    this.points.show(scattered(rows));
    this.redraw();
  }

  /** Appearance of clips: the colored column, whether the page is dark, the selected rows. */
  paint(paint) {
    const style = getComputedStyle(byId("map"));
    [this.ink, this.ground] = [style.color, style.backgroundColor].map((color) =>
      color
        .match(/[\d.]+/g)
        .slice(0, 3)
        .map(Number),
    );
    this.painted = paint;
    this.points.paint(paint);
    this.redraw();
  }

  /** Change which clips are marked: chosen, hovered, near, and places of a lasso. */
  mark(marks) {
    Object.assign(this.marks, marks);
    this.redraw();
  }

  /** A drag is a lasso from now on, or pans. */
  setLassoing(lassoing) {
    this.lassoing = lassoing;
    byId("lasso").setAttribute("aria-pressed", lassoing);
    byId("pan").setAttribute("aria-pressed", !lassoing);
    byId("map").classList.toggle("lassoing", lassoing);
  }

  /** A point's width in pixels: less among many, more from near. */
  get size() {
    const alone = Math.min(Math.max(36 / this.clips.num ** 0.25, 3), 11);
    return Math.min(alone * Math.max(this.view.zoom, 1) ** 0.3, 22) / 0.8;
  }

  /** Opacity of the errors' rings: among very many they only tint, until the user zooms in. */
  get rings() {
    return Math.min(1, Math.max(0.15, this.view.zoom * Math.sqrt(CLEAR_RINGS / this.numWrong)));
  }

  #listen() {
    const changed =
      (change) =>
      (...values) => {
        change(...values);
        this.on.hovered(-1); // it is no longer where it was
        this.redraw();
      };
    const at = (place) => (place ? this.view.nearest(this.rows, place, NEAR) : -1);
    let pointed = null;
    const hover = oncePerFrame(() => this.on.hovered(at(pointed)));
    listen(byId("overlay"), {
      hover: (place) => {
        pointed = place;
        hover();
      },
      click: (place) => this.on.chosen(at(place)),
      pan: changed((right, down) => this.view.pan(right, down)),
      zoom: changed((factor, place) => this.view.zoomBy(factor, place)),
      fit: changed(() => this.view.fit()),
      lasso: (lasso) => this.mark({ lasso }),
      lassoed: (lasso) => {
        this.mark({ lasso: [] });
        this.on.lassoed(this.view.inside(this.rows, lasso));
      },
      lassoing: () => this.lassoing,
    });
    byId("pan").addEventListener("click", () => this.setLassoing(false));
    byId("lasso").addEventListener("click", () => this.setLassoing(true));
    const steps = {
      "zoom-in": () => this.view.zoomBy(1.5),
      "zoom-out": () => this.view.zoomBy(1 / 1.5),
      fit: () => this.view.fit(),
    };
    for (const [id, step] of Object.entries(steps)) {
      byId(id).addEventListener("click", changed(step));
    }
  }

  #resize() {
    const { clientWidth, clientHeight } = byId("map");
    for (const canvas of [byId("overlay"), this.points.canvas]) {
      canvas.width = Math.round(clientWidth * devicePixelRatio);
      canvas.height = Math.round(clientHeight * devicePixelRatio);
    }
    this.view.resize(clientWidth, clientHeight);
    if (this.painted) this.#draw(); // at once: a canvas of another size is empty
  }

  #replace(points) {
    this.points = points;
    points.show(scattered(this.rows));
    points.paint(this.painted);
    this.#resize();
  }

  #draw() {
    const { size, rings, ink, ground } = this;
    this.points.draw(this.view, { size, rings, ink, ground });
    drawOverlay(byId("overlay"), this.view, { size, ink, ground, ...this.marks });
  }
}

/** Rows in an order that favors no class: which points lie above others says nothing. */
function scattered(rows) {
  const step = 2_654_435_769 % rows.length || 1; // 2^32 by the golden ratio: far from its like
  const common = (a, b) => (b ? common(b, a % b) : a);
  let stride = step;
  while (common(stride, rows.length) > 1) stride++;
  return rows.map((_, i) => rows[(i * stride) % rows.length]);
}
