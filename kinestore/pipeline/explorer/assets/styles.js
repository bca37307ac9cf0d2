const NONE = "#8a8f98"; // clips without a value
const IN_THE_DARK = { "#000000": "#ffffff" };
const TILE = 64; // pixels

/** Opacity of clips that are not selected, where some are. */
export const DIMMED = 0.12;

/** Corners on a circle, clockwise; turns count from the top. */
const around = (num, turns = 0, radius = 1) =>
  Array.from({ length: num }, (_, i) => {
    const angle = 2 * Math.PI * (i / num + turns);
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });

/** A cross of four arms: the ends of each, and the corner to the next. */
const cross = (turns) =>
  [0, 1, 2, 3].flatMap((arm) => [
    ...around(1, arm / 4 + turns - 0.055, 1.1),
    ...around(1, arm / 4 + turns + 0.055, 1.1),
    ...around(1, arm / 4 + turns + 1 / 8, 0.53),
  ]);

/** Outlines of markers by matplotlib's names, from -1 to 1, down positive; null is a circle. */
const OUTLINES = {
  o: null,
  s: around(4, 1 / 8, 1.2),
  "^": around(3, 0, 1.1),
  D: around(4),
  v: around(3, 1 / 2, 1.1),
  P: cross(0),
  X: cross(1 / 8),
  "*": around(10).map(([x, y], i) => (i % 2 ? [x / 2, y / 2] : [1.1 * x, 1.1 * y])),
  "<": around(3, 3 / 4, 1.1),
  ">": around(3, 1 / 4, 1.1),
  p: around(5),
  h: around(6),
  d: around(4).map(([x, y]) => [0.6 * x, y]),
};
export const MARKERS = Object.keys(OUTLINES);
/** The number of the ring that marks an error, after those of the markers. */
export const RING = MARKERS.length;

/** Color and marker of the nth name of a column; colors of light pages differ in the dark. */
export function pointStyle(clips, column, code, dark) {
  if (clips.columns[column].names[code] === null) return { color: NONE, marker: 0 };
  const [color, marker] = clips.styles[code % clips.styles.length];
  return { color: (dark && IN_THE_DARK[color]) || color, marker: MARKERS.indexOf(marker) };
}

/** Red, green and blue of a color, each 0 to 255. */
export const rgb = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

/** Trace a marker around a point; its circle would have that radius. */
export function trace(context, marker, [x, y], radius) {
  context.beginPath();
  const outline = OUTLINES[MARKERS[marker]];
  if (!outline) context.arc(x, y, radius, 0, 2 * Math.PI);
  else outline.forEach(([right, down]) => context.lineTo(x + radius * right, y + radius * down));
  context.closePath();
}

/**
 * Pictures of all markers and the ring, one below the other, for a texture: red is how much a pixel
 * is covered, green how much of that lies within the edge.
 */
export function tiles() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [TILE, TILE * (RING + 1)];
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const radius = 0.4 * TILE;
  for (let marker = 0; marker <= RING; marker++) {
    const middle = [TILE / 2, TILE * (marker + 0.5)];
    trace(context, marker === RING ? 0 : marker, middle, marker === RING ? 1.1 * radius : radius);
    context.fillStyle = context.strokeStyle = "#ff0000";
    if (marker === RING) {
      context.lineWidth = 0.1 * TILE;
      context.stroke();
    } else {
      context.fill();
      trace(context, marker, middle, 0.8 * radius);
      context.fillStyle = "#ffff00";
      context.fill();
    }
  }
  return { pixels: context.getImageData(0, 0, canvas.width, canvas.height), side: TILE };
}
