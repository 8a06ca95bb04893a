// What is known of one node.

import { bits, bytes, duration, label, milliseconds, path, short } from "./format.js";

export function drawDetails(body, state, select) {
  const { ring, head, selected } = state;
  const node = ring.nodes.find((one) => one.id === selected);
  if (!node) return;
  const peer = state.peers.find((one) => one.node === selected);
  const facts = node.id === ring.own ? ownFacts(head) : peer ? peerFacts(peer, state.rates.get(peer.node)) : [];
  const view = d3.select(body);
  // Whose details these are is announced; the figures change every second.
  const title = view.selectAll("h3").data([label(node)]).join("h3").attr("aria-live", "polite");
  title.filter(function (text) { return this.textContent !== text; }).text((text) => text);
  view.selectAll("p.id").data([node.id]).join("p").attr("class", "id mono").text((text) => text);
  view.selectAll("p.empty").data(facts.length ? [] : ["This node has no session with it."]).join("p")
    .attr("class", "empty").text((text) => text);
  view.selectAll("dl").data([facts]).join("dl").selectAll("div").data((list) => list).join(
    (enter) => {
      const pair = enter.append("div").style("display", "contents");
      pair.append("dt");
      pair.append("dd");
      return pair;
    })
    .call((pairs) => pairs.select("dt").text(([name]) => name))
    .call((pairs) => pairs.select("dd").text(([, value]) => value));
  drawLinks(view, state, select);
}

function drawLinks(view, { ring, selected }, select) {
  const names = new Map(ring.nodes.map((node) => [node.id, node.addresses.length ? node.addresses[0] : short(node.id)]));
  const links = ring.links.filter((link) => link.a === selected || link.b === selected)
    .map((link) => ({ kind: link.kind, other: link.a === selected ? link.b : link.a }))
    .sort((one, two) => (one.kind + one.other < two.kind + two.other ? -1 : 1));
  view.selectAll("h4").data([`Links (${links.length})`]).join("h4").text((text) => text);
  view.selectAll("ul").data([links]).join("ul").attr("class", "chips")
    .selectAll("li").data((list) => list, (link) => link.other).join((enter) => {
      const item = enter.append("li");
      const button = item.append("button").attr("type", "button").on("click", (_, link) => select(link.other));
      button.append("span");
      button.append("b").style("font-weight", "inherit");
      return item;
    })
    .call((items) => items.select("span").attr("class", (link) => `dot ${link.kind}`))
    .call((items) => items.select("b").text((link) => names.get(link.other)))
    .call((items) => items.select("button").attr("aria-label", (link) => `${names.get(link.other)}, ${link.kind} link`));
}

const ownFacts = (head) => [
  ["This node", head.name],
  ["Version", head.version],
  ["Namespace", head.namespace ?? "none"],
  ["Address", head.addresses.join(", ") || "no card"],
  ["Up for", duration(Date.now() / 1000 - head.started)],
  ...head.modules.map((module) => [module.name, module.restarts ? `${module.state}, ${module.restarts} restarts` : module.state]),
];

const peerFacts = (peer, rate) => [
  ["Path", path(peer)],
  ["Endpoint", peer.endpoint ?? "–"],
  ["Round trip", milliseconds(peer.rtt_ms)],
  ["Member", peer.member ? "yes" : "no"],
  ["Wanted as", peer.kinds.join(", ") || "–"],
  ["Received", `${bytes(peer.bytes_in)}, ${bits(rate?.in ?? 0)}`],
  ["Sent", `${bytes(peer.bytes_out)}, ${bits(rate?.out ?? 0)}`],
  ["Session since", duration(peer.age_s)],
];
