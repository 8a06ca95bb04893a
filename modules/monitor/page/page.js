// Opens the page with the token of the address's fragment, takes the node's events, and has the parts drawn.

import { drawDetails } from "./details.js";
import { duration } from "./format.js";
import { drawLog } from "./log.js";
import { drawPeers } from "./peers.js";
import { Ring } from "./ring.js";
import { Traffic } from "./traffic.js";

const TRY_AGAIN = 3000;

const find = (selector) => document.querySelector(selector);
const state = { head: null, ring: null, peers: [], log: [], rates: new Map(), selected: null, chosen: false };
const traffic = new Traffic();
const ring = new Ring(find("#ring"), select);

function select(id) {
  state.chosen = id !== null && !(state.chosen && id === state.selected);
  state.selected = state.chosen ? id : state.ring.own;
  draw();
}

function draw() {
  if (!state.ring || !state.head) return;
  if (!state.ring.nodes.some((node) => node.id === state.selected)) {
    state.selected = state.ring.own;
    state.chosen = false;
  }
  find("main").hidden = false;
  ring.update(state.ring, state.rates, state.selected, state.chosen);
  drawPeers(find("#peers"), state.peers, state.rates, state.selected, select);
  drawDetails(find("#details-body"), state, select);
  drawHead(state.head);
  drawLog(find("#log ol"), state.log);
}

function drawHead(head) {
  find("#name").textContent = head.name;
  find("#address").textContent = head.addresses.join(", ") || "carries others' packets";
  document.title = `${head.name} · IPOP`;
  const direct = state.peers.filter((peer) => peer.path === "direct").length;
  const facts = [
    ["Ring", head.joined ? `about ${head.size} nodes` : "not joined"],
    ["Members", head.members === null ? "–" : head.members + 1],
    ["Direct", direct],
    ["Relayed", state.peers.filter((peer) => peer.path === "overlay").length],
    ["Up", duration(Date.now() / 1000 - head.started)],
  ];
  d3.select("#facts").selectAll("div").data(facts).join((enter) => {
    const pair = enter.append("div");
    pair.append("dt");
    pair.append("dd");
    return pair;
  }).call((pairs) => pairs.select("dt").text(([name]) => name))
    .call((pairs) => pairs.select("dd").text(([, value]) => value));
}

const take = {
  head: (head) => { state.head = head; },
  ring: (data) => { state.ring = data; state.selected ??= data.own; },
  peers: (peers) => { state.peers = peers; state.rates = traffic.update(peers); },
  log: (lines) => { state.log = lines; },
};

function connect() {
  const events = new EventSource("events");
  events.onopen = () => show("live", "live");
  events.onerror = async () => {
    show("lost", "connection lost, trying again");
    if (events.readyState !== EventSource.CLOSED) return;
    // The browser has given up: the token is no longer right, or the node has no room.
    setTimeout(async () => ((await isOpen()) ? connect() : lock()), TRY_AGAIN);
  };
  for (const [name, taken] of Object.entries(take)) {
    events.addEventListener(name, (event) => {
      taken(JSON.parse(event.data));
      draw();
    });
  }
}

// With a token, have it kept as a cookie that no script can read; without, see whether one is kept.
async function isOpen(token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    return (await fetch("session", { method: "POST", headers })).status !== 401;
  } catch {
    return true; // not refused: the node is away
  }
}

function show(name, text) {
  const connection = find("#connection");
  connection.dataset.state = name;
  connection.textContent = text;
}

function lock() {
  show("lost", "locked");
  find("main").hidden = true;
  find("#locked").hidden = false;
  find("#token").focus();
}

async function open(token) {
  const known = await isOpen(token);
  find("#wrong").hidden = known || !token;
  if (!known) return lock();
  find("#locked").hidden = true;
  return connect();
}

addEventListener("resize", draw); // a phone that is turned has room for other labels

find("#locked form").addEventListener("submit", (event) => {
  event.preventDefault();
  open(find("#token").value.trim());
});

const given = decodeURIComponent(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
open(given);
