/**
 * Draws what lies above the clips: the lasso, rings around those that are selected or under the pointer, and lines from
 * the chosen one to its neighbors.
 */
export function drawOverlay(canvas, view, { size, ink, ground, chosen, hovered, near, lasso }) {
  const context = canvas.getContext("2d");
  const unit = canvas.width / view.width;
  context.setTransform(unit, 0, 0, unit, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  const radius = size / 2 + 4;
  if (near.length) {
    const from = view.place(chosen);
    near.forEach((row) => line(context, [from, view.place(row)], ink, [3, 3]));
  }
  if (hovered >= 0) ring(context, view.place(hovered), radius, 2, ink, ground);
  if (chosen >= 0) ring(context, view.place(chosen), radius + 2, 3.5, ink, ground);
  if (lasso.length) {
    context.beginPath();
    lasso.forEach((place) => context.lineTo(...place));
    context.closePath();
    context.fillStyle = `rgba(${ink}, 0.08)`;
    context.fill();
    line(context, [...lasso, lasso[0]], ink, [6, 4]);
  }
}

function line(context, places, ink, dash) {
  context.setLineDash(dash);
  context.lineWidth = 1;
  context.strokeStyle = `rgb(${ink})`;
  context.beginPath();
  places.forEach((place) => context.lineTo(...place));
  context.stroke();
  context.setLineDash([]);
}

function ring(context, [x, y], radius, width, ink, ground) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  for (const [extra, color] of [
    [2, ground],
    [0, ink],
  ]) {
    context.lineWidth = width + extra;
    context.strokeStyle = `rgb(${color})`;
    context.stroke();
  }
}
