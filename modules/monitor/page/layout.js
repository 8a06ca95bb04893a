// Where things lie on the circle. Node ids are numbers of 160 bits; the ring runs clockwise from the top.

export const SIZE = 720;
const CENTRE = SIZE / 2;
export const RADIUS = 268;
const EVEN = 0.7; // how far nodes are moved from where their ids lie to an even spread, so that none hide each other

// The angle of each node, in radians; the order is that of the ids.
export function angles(ids) {
  const sorted = [...ids].sort();
  const true_ = sorted.map((id) => (parseInt(id.slice(0, 8), 16) / 2 ** 32) * 2 * Math.PI);
  const step = (2 * Math.PI) / sorted.length;
  const start = true_.reduce((sum, angle, i) => sum + angle - i * step, 0) / sorted.length;
  return new Map(sorted.map((id, i) => [id, (1 - EVEN) * true_[i] + EVEN * (start + i * step)]));
}

export function place(angle, radius = RADIUS) {
  return [CENTRE + radius * Math.sin(angle), CENTRE - radius * Math.cos(angle)];
}

// A curve between two points of the circle that bends towards the middle, the more so for `bend` near 0.
export function chord(from, to, bend) {
  const [x1, y1] = place(from);
  const [x2, y2] = place(to);
  const cx = CENTRE + ((x1 + x2) / 2 - CENTRE) * bend;
  const cy = CENTRE + ((y1 + y2) / 2 - CENTRE) * bend;
  return `M${x1.toFixed(1)} ${y1.toFixed(1)}Q${cx.toFixed(1)} ${cy.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
}
