const STILL = 4; // pixels that a click may stray

/**
 * What mouse, fingers and keys do on the map.
 *
 * @param on callbacks: hover(place or null), click(place), pan(right, down), zoom(factor, place),
 *   lasso(places so far), lassoed(places), fit(), and lassoing(), whether a drag is a lasso.
 */
export function listen(canvas, on) {
  const held = new Map(); // pointers that are down, and where
  let drag = null;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    const start = place(event);
    if (held.size > 1) on.lasso([]);
    drag = {
      strayed: held.size > 1,
      lasso: held.size === 1 && (event.shiftKey || on.lassoing()) ? [start] : null,
      start,
    };
  });

  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = held.get(event.pointerId);
    if (!before || !drag) {
      on.hover(now);
      return;
    }
    drag.strayed ||= far(now, drag.start);
    if (held.size === 2) pinch(event.pointerId, before, now);
    else if (drag.lasso) {
      drag.lasso.push(now);
      on.lasso(drag.lasso);
    } else if (drag.strayed) on.pan(now[0] - before[0], now[1] - before[1]);
    if (drag.strayed || drag.lasso) held.set(event.pointerId, now);
  });

  const pinch = (id, before, now) => {
    const [, other] = [...held].find(([one]) => one !== id);
    const apart = (from) => Math.hypot(from[0] - other[0], from[1] - other[1]) || 1;
    on.zoom(apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  };

  const release = (event) => {
    if (!held.delete(event.pointerId) || held.size || !drag) return;
    const { strayed, lasso } = drag;
    drag = null;
    if (event.type === "pointercancel") on.lasso([]);
    else if (!strayed) {
      on.lasso([]);
      on.click(place(event));
    } else if (lasso) on.lassoed(lasso);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => on.hover(null));

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
      on.zoom(Math.exp(-0.002 * lines * event.deltaY), place(event));
    },
    { passive: false },
  );

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = {
      ArrowLeft: [40, 0],
      ArrowRight: [-40, 0],
      ArrowUp: [0, 40],
      ArrowDown: [0, -40],
    };
    const factors = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };
    if (event.key in steps) on.pan(...steps[event.key]);
    else if (event.key in factors) on.zoom(factors[event.key]);
    else if (event.key === "0") on.fit();
    else return;
    event.preventDefault();
  });
}

const far = ([x, y], [x0, y0]) => Math.hypot(x - x0, y - y0) > STILL;
