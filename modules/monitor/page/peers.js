// The table of peers. A cell keeps the exact value in `data-value`, and shows it as `ipop peers` does.

import { bits, bytes, duration, milliseconds, path } from "./format.js";

const COLUMNS = [
  ["addresses", (peer) => peer.addresses.join(", ") || "–"],
  ["node", (peer) => peer.node.slice(0, 12), "mono"],
  ["path", path],
  ["endpoint", (peer) => peer.endpoint ?? "–"],
  ["rtt_ms", (peer) => milliseconds(peer.rtt_ms), "number"],
  ["kinds", (peer) => peer.kinds.join(" ") || "–"],
  ["bytes_in", (peer) => bytes(peer.bytes_in), "number"],
  ["bytes_out", (peer) => bytes(peer.bytes_out), "number"],
  ["rate", (peer, rates) => bits(sum(rates.get(peer.node))), "number"],
  ["age_s", (peer) => duration(peer.age_s), "number"],
];

const sum = (rate) => (rate ? rate.in + rate.out : 0);

export function drawPeers(section, peers, rates, selected, select) {
  section.querySelector("#peer-count").textContent = peers.length;
  const rows = d3.select(section).select("tbody").selectAll("tr").data(peers, (peer) => peer.node).join((enter) => {
    const row = enter.append("tr").on("click", (_, peer) => select(peer.node));
    for (const [field, , kind] of COLUMNS) row.append("td").attr("data-field", field).attr("class", kind ?? null);
    row.select("[data-field=node]").append("button").attr("type", "button");
    row.select("[data-field=path]").append("span");
    return row;
  });
  rows.attr("data-node", (peer) => peer.node).classed("selected", (peer) => peer.node === selected);
  for (const [field, show] of COLUMNS) {
    const cells = rows.select(`[data-field=${field}]`).attr("data-value", (peer) => JSON.stringify(peer[field] ?? null));
    const holder = field === "node" ? cells.select("button") : field === "path" ? cells.select("span") : cells;
    holder.text((peer) => show(peer, rates));
    if (field === "path") holder.attr("class", (peer) => `path ${peer.path}`);
    if (field === "node") holder.attr("aria-label", (peer) => `Details of ${peer.node}`);
  }
}
