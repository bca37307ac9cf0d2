import { byId } from "./dom.js";

/** Read the page's clips: a row each, N in all. */
export function readClips() {
  const data = JSON.parse(byId("data").textContent);
  const columns = data.columns.map(({ name, names, codes }) => ({
    name,
    names,
    codes: unpack(codes),
  }));
  const column = (name) => columns.find((one) => one.name === name);
  const value = (name, row) => column(name)?.names[column(name).codes[row]] ?? null;
  const points = unpack(data.points);
  const num = data.clipIds.length;
  const folders = unpack(data.folders.codes);
  const confidence = data.confidence && unpack(data.confidence);
  const neighbors = data.neighbors ? unpack(data.neighbors) : [];
  const numNeighbors = neighbors.length / num;
  const outcome = column("outcome");
  const wrong = outcome ? outcome.names.indexOf("wrong") : -1;
  return {
    num,
    columns,
    styles: data.styles,
    /** Number of the column that is colored first. */
    color: columns.findIndex((one) => one.name === data.color),
    scored: data.scored,
    hasNeighbors: numNeighbors > 0,
    /** Coordinates, x and y of each row in turn: centered, the longer side from -1 to 1. */
    at: centered(points),
    clipId: (row) => data.clipIds[row],
    file: (row) => data.files[row],
    uri: (row) => data.folders.names[folders[row]] + data.files[row],
    caption: (row) => data.captions[row] ?? null,
    label: (row) => value("label", row),
    predicted: (row) => (data.scored ? value("prediction", row) : null),
    /** Of the prediction, 0 to 1; null where unknown. */
    confidence: (row) => (confidence && !Number.isNaN(confidence[row]) ? confidence[row] : null),
    isWrong: (row) => wrong >= 0 && outcome.codes[row] === wrong,
    neighbors: (row) => neighbors.slice(row * numNeighbors, (row + 1) * numNeighbors),
    ...thumbnails(num),
  };
}

function unpack({ type, base64 }) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new globalThis[type](bytes.buffer);
}

function centered(points) {
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (let i = 0; i < points.length; i++) {
    low[i % 2] = Math.min(low[i % 2], points[i]);
    high[i % 2] = Math.max(high[i % 2], points[i]);
  }
  const half = Math.max(high[0] - low[0], high[1] - low[1]) / 2 || 1;
  return points.map((value, i) => (value - (low[i % 2] + high[i % 2]) / 2) / half);
}

/** Thumbnails are base64 text, one line each, and are decoded when they are shown. */
function thumbnails(num) {
  const text = byId("thumbnails").textContent;
  const starts = new Uint32Array(num + 1);
  for (let row = 0; row < num; row++) {
    const end = text.indexOf("\n", starts[row]);
    starts[row + 1] = end < 0 ? text.length + 1 : end + 1;
  }
  return {
    hasThumbnails: text.length >= num,
    /** A thumbnail's address, or null. */
    thumbnail(row) {
      const base64 = text.slice(starts[row], starts[row + 1] - 1);
      return base64 ? `data:image/webp;base64,${base64}` : null;
    },
  };
}
