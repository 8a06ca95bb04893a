// The ring as a picture.

import { label, tail } from "./format.js";
import { angles, chord, place, RADIUS, SIZE } from "./layout.js";
import { Drops } from "./drops.js";

const BEND = { near: 0.86, long: 0.35, shortcut: 0.25, other: 0.5 };
const NARROW = matchMedia("(max-width: 900px)");
const KEYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export class Ring {
  #svg;
  #links;
  #nodes;
  #drops;
  #select;
  #order = [];
  #pause = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 700;

  constructor(svg, select) {
    this.#svg = d3.select(svg);
    this.#select = select;
    this.#svg.append("circle").attr("class", "rim").attr("r", RADIUS).attr("cx", SIZE / 2).attr("cy", SIZE / 2);
    this.#links = this.#svg.append("g");
    this.#drops = new Drops(this.#svg.append("g"));
    this.#nodes = this.#svg.append("g");
    this.#svg.on("keydown", (event) => this.#key(event));
  }

  // `chosen`: a node was picked by hand, so its links stand out.
  update({ own, nodes, links }, rates, selected, chosen) {
    const where = angles(nodes.map((node) => node.id));
    this.#order = [...where.keys()];
    this.#svg.classed("chosen", chosen);
    this.#drawLinks(links, where, own, rates, selected);
    this.#drawNodes(nodes, where, own, selected);
  }

  focus(id) {
    this.#nodes.selectAll(".node").filter((node) => node.id === id).node()?.focus({ preventScroll: true });
  }

  #drawLinks(links, where, own, rates, selected) {
    const drawn = links.filter((link) => where.has(link.a) && where.has(link.b));
    const way = (link) => chord(where.get(link.a), where.get(link.b), BEND[link.kind]);
    const rate = (link) => rates.get(link.a === own ? link.b : link.a);
    const paths = this.#links.selectAll("path").data(drawn, (link) => link.a + link.b)
      .join((enter) => enter.append("path").attr("d", way));
    paths
      .attr("class", (link) => ["link", link.kind, link.path === "overlay" && "relayed", link.path || "far",
        (link.a === selected || link.b === selected) && "of-chosen"].filter(Boolean).join(" "))
      .style("stroke-width", (link) => {
        const now = link.path ? rate(link) : undefined;
        return now && now.in + now.out > 1000 ? `${2.4 + Math.log10((now.in + now.out) / 1000)}px` : null;
      })
      .transition("move").duration(this.#pause).attr("d", way);
    const streams = [];
    paths.each(function (link) {
      const now = link.path ? rate(link) : undefined;
      if (!now) return;
      const key = link.a + link.b;
      streams.push({ key, path: this, forward: link.a === own, rate: now.out });
      streams.push({ key, path: this, forward: link.b === own, rate: now.in });
    });
    this.#drops.set(streams);
  }

  #drawNodes(nodes, where, own, selected) {
    const at = (node) => `translate(${place(where.get(node.id)).map((value) => value.toFixed(1)).join()})`;
    const grown = (node) => (node.id === own ? 12 : node.addresses.length ? 10 : 6.5);
    const items = this.#nodes.selectAll(".node").data(nodes, (node) => node.id).join((enter) => {
      const group = enter.append("g").attr("role", "option").attr("transform", at)
        .on("click", (_, node) => this.#select(node.id));
      group.append("circle").attr("class", "halo");
      group.append("circle").attr("class", "disc").attr("r", 0);
      group.append("text").attr("dy", "0.35em");
      return group;
    });
    items
      .attr("class", (node) => ["node", node.id === own ? "own" : node.addresses.length ? "member" : "",
        node.id === selected && "selected"].filter(Boolean).join(" "))
      .attr("data-id", (node) => node.id)
      .attr("tabindex", (node) => (node.id === selected ? 0 : -1))
      .attr("aria-selected", (node) => node.id === selected)
      .attr("aria-label", (node) => `${label(node)}${node.id === own ? ", this node" : ""}`);
    items.transition("move").duration(this.#pause).attr("transform", at);
    items.select(".halo").attr("r", (node) => grown(node) + 5);
    items.select(".disc").transition("grow").duration(this.#pause).attr("r", grown);
    const crowded = nodes.length > 40;
    items.select("text")
      .text((node) => (crowded && !node.addresses.length ? "" : NARROW.matches ? tail(node) : label(node)))
      .attr("text-anchor", (node) => anchor(where.get(node.id)))
      .attr("x", (node) => Math.sin(where.get(node.id)) * 26)
      .attr("y", (node) => -Math.cos(where.get(node.id)) * 28);
  }

  #key(event) {
    const step = KEYS[event.key];
    const focused = event.target.closest?.(".node")?.dataset.id;
    if (event.key === "Escape") return this.#select(null);
    if (step === undefined || focused === undefined) return undefined;
    event.preventDefault();
    const next = this.#order[(this.#order.indexOf(focused) + step + this.#order.length) % this.#order.length];
    this.#select(next);
    return this.focus(next);
  }
}

function anchor(angle) {
  const side = Math.sin(angle);
  return side > 0.25 ? "start" : side < -0.25 ? "end" : "middle";
}
