import { byId, make } from "./dom.js";
import { FlatPoints } from "./flat.js";
import { WebglPoints } from "./webgl.js";

const SLOWLY = "WebGL is not available in this browser: the map is drawn without it, more slowly.";

/**
 * Start drawing clips below the overlay, with WebGL if the browser lets us.
 *
 * @param again (points) is called if WebGL is taken away later, with what draws from then on.
 */
export function startPoints(clips, again) {
  const canvas = below(make("canvas", { id: "points", "aria-hidden": "true" }));
  try {
    const points = new WebglPoints(canvas, clips);
    canvas.addEventListener("webglcontextlost", () => again(flat(clips)));
    return points;
  } catch {
    return flat(clips);
  }
}

function flat(clips) {
  byId("notice").textContent = SLOWLY;
  byId("notice").hidden = false;
  byId("points").remove(); // it cannot change its kind
  return new FlatPoints(below(make("canvas", { id: "points", "aria-hidden": "true" })), clips);
}

function below(canvas) {
  byId("overlay").before(canvas);
  return canvas;
}
