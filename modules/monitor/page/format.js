// How values are shown; the same as `ipop peers` shows them.

export const short = (id) => id.slice(0, 6);

export const label = (node) => (node.addresses.length ? node.addresses[0] : short(node.id));

// Where there is little room.
export const tail = (node) => (node.addresses.length ? node.addresses[0].replace(/^.*(?=[.:])/, "") : node.id.slice(0, 4));

export function bytes(count) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (count < 1000) return unit === "B" ? `${count.toFixed(0)} B` : `${count.toFixed(1)} ${unit}`;
    count /= 1000;
  }
  return `${count.toFixed(1)} TB`;
}

export function bits(bytesPerSecond) {
  let rate = bytesPerSecond * 8;
  for (const unit of ["bit/s", "kbit/s", "Mbit/s"]) {
    if (rate < 1000) return `${rate.toFixed(rate < 10 && unit !== "bit/s" ? 1 : 0)} ${unit}`;
    rate /= 1000;
  }
  return `${rate.toFixed(1)} Gbit/s`;
}

export const milliseconds = (value) => (value === null ? "–" : `${value.toFixed(1)} ms`);

export function duration(seconds) {
  const parts = [];
  let rest = Math.max(Math.floor(seconds), 0);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

export function path(peer) {
  if (peer.path === "overlay") return `relayed, ${peer.overlay_hops ?? "?"} hops`;
  return peer.path === "direct" ? "direct" : "none yet";
}
