// What flows now: rates from one look at the peers to the next, by the node's own clock.

const SMOOTH = 0.6;

export class Traffic {
  #before = new Map();
  #rates = new Map();

  // `peers` as the node tells them. Bytes per second by node id: {in, out}.
  update(peers) {
    const rates = new Map();
    for (const peer of peers) {
      const before = this.#before.get(peer.node);
      const seconds = before ? peer.age_s - before.age_s : 0;
      if (seconds > 0) {
        const old = this.#rates.get(peer.node) ?? { in: 0, out: 0 };
        rates.set(peer.node, {
          in: mix(old.in, (peer.bytes_in - before.bytes_in) / seconds),
          out: mix(old.out, (peer.bytes_out - before.bytes_out) / seconds),
        });
      }
    }
    this.#before = new Map(peers.map((peer) => [peer.node, peer]));
    this.#rates = rates;
    return rates;
  }
}

const mix = (old, now) => Math.max(0, (1 - SMOOTH) * old + SMOOTH * now);
