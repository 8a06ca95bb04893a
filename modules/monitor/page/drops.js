// Traffic on links: drops that run along a link from who sends to who gets, the more of them the more flows.

const LEAST = 300; // bytes a second; below is what keeps a link alive
const MOST = 4;

export class Drops {
  #streams = [];
  #group;

  constructor(group) {
    this.#group = group;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) d3.timer((elapsed) => this.#move(elapsed));
  }

  // Streams: {key, path (an SVG path), forward, rate (bytes a second)}.
  set(streams) {
    this.#streams = streams.filter((stream) => stream.rate >= LEAST);
    const drops = this.#streams.flatMap((stream) =>
      d3.range(Math.min(MOST, Math.ceil(Math.log10(stream.rate / LEAST + 1) + 0.1))).map((i, _, all) => ({
        stream, key: `${stream.key}/${stream.forward}/${i}`, shift: i / all.length,
      })));
    this.#group.selectAll("circle").data(drops, (drop) => drop.key).join(
      (enter) => enter.append("circle").attr("class", "drop").attr("r", 3.2));
  }

  #move(elapsed) {
    this.#group.selectAll("circle").each(function (drop) {
      const { path, forward, rate } = drop.stream;
      const seconds = Math.max(1.1, 3.2 - 0.5 * Math.log10(rate / LEAST));
      const way = (elapsed / 1000 / seconds + drop.shift) % 1;
      const point = path.getPointAtLength((forward ? way : 1 - way) * path.getTotalLength());
      this.setAttribute("cx", point.x);
      this.setAttribute("cy", point.y);
    });
  }
}
