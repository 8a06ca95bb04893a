"""The figures of a node as Prometheus reads them (exposition format 0.0.4).

Names and units are kept from version to version; docs/monitor.md lists them. No label holds what peers choose: series
are as many as this program has words for, whoever sends what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ipop_modules.monitor.figures import Figures

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
KINDS: Final = ("bootstrap", "near", "long", "shortcut")
LEVELS: Final = ("debug", "info", "warning", "error")
PATHS: Final = ("direct", "overlay", "none")
STATES: Final = ("protected", "connecting", "other")
"""Of associations; each kind of key daemon has more words of its own."""
MOST: Final = 100
"""Series of one metric; what a role counts beyond them is added up as `other`."""
_NO_DROPS: Final = frozenset(
    {"socket_closed", "socket_no_segmentation", "write_segmented", "write_streams", "write_trains"}
)
_APART: Final = frozenset({"handshakes", "relayed", "relayed_bytes"})
"""Counters that have a metric of their own."""


def exposition(figures: Figures) -> bytes:
    """The page that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(_Node(figures))
    return generate_latest(registry)


def families(figures: Figures) -> Iterator[Metric]:
    yield from _node(figures)
    yield from _processes(figures)
    if link := figures.roles.get("link"):
        yield from _traffic(link)
        yield from _counters(link["counters"])
        yield from _peers(figures.peers)
    if topology := figures.roles.get("topology"):
        yield from _ring(topology)
    if signal := figures.roles.get("signal"):
        yield from _contact(signal)
    if logger := figures.roles.get("logger"):
        yield from _log(logger.get("lines", {}))
    if resolver := figures.roles.get("resolver"):
        yield from _names(resolver)
    if crypto := figures.roles.get("crypto"):
        yield from _protection(crypto)


class _Node(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        return families(self._figures)


def _node(figures: Figures) -> Iterator[Metric]:
    core = figures.core
    info = GaugeMetricFamily("ipop_node_info", "This node; always 1.", labels=("node", "name", "version"))
    info.add_metric((core["node"], core["name"], core["version"]), 1)
    yield info
    yield GaugeMetricFamily("ipop_start_time_seconds", "When the controller started, in Unix time.", core["started"])
    yield GaugeMetricFamily("ipop_ready", "1 while every module runs.", float(core["ready"]))
    yield _gauge("ipop_role_up", "1 for a role that answers.", "role", {"core": 1, **dict.fromkeys(figures.roles, 1)})
    yield _counter("ipop_bus_dropped_total", "Messages on the bus that went nowhere.", "cause", core["bus"])
    modules = core["modules"]
    running = {module["name"]: int(module["state"] == "running") for module in modules}
    yield _gauge("ipop_module_running", "1 while the module runs.", "module", running)
    restarts = {module["name"]: module["restarts"] for module in modules}
    yield _counter("ipop_module_restarts_total", "How often the module was started again.", "module", restarts)


def _processes(figures: Figures) -> Iterator[Metric]:
    memory = {name: usage.memory for name, usage in figures.usage.items()}
    yield _gauge("ipop_process_memory_bytes", "Proportional set size of the process.", "process", memory)
    cpu = {name: usage.cpu for name, usage in figures.usage.items()}
    yield _counter("ipop_process_cpu_seconds_total", "CPU time of the process.", "process", cpu)


def _traffic(link: Mapping[str, Any]) -> Iterator[Metric]:
    traffic, counters = link["traffic"], link["counters"]
    card, sessions = traffic["card"], traffic["sessions"]
    if card is not None:
        help_text = "Packets on the card; a super-frame counts once."
        yield _both_ways("ipop_card_packets_total", help_text, card, "packets")
        yield _both_ways("ipop_card_bytes_total", "Bytes on the card.", card, "bytes")
    yield _both_ways("ipop_session_bytes_total", "Bytes in sealed blocks, of all sessions.", sessions, "bytes")
    yield _both_ways("ipop_session_blocks_total", "Sealed blocks, of all sessions.", sessions, "blocks")
    sent = sessions["datagrams_out"]
    yield CounterMetricFamily("ipop_session_sent_datagrams_total", "Datagrams that carried sealed blocks.", sent)
    relayed = counters.get("relayed", 0)
    yield CounterMetricFamily("ipop_relayed_packets_total", "Packets carried for other nodes.", relayed)
    volume = counters.get("relayed_bytes", 0)
    yield CounterMetricFamily("ipop_relayed_bytes_total", "Bytes carried for other nodes.", volume)


def _counters(counters: Mapping[str, int]) -> Iterator[Metric]:
    """The link role's counters, told apart by how their names begin."""
    drops: dict[str, int] = {}
    refusals: dict[str, int] = {}
    handshakes = {"completed": counters.get("handshakes", 0)}
    others: dict[str, int] = {}
    for name, count in counters.items():
        beginning, _, rest = name.partition("_")
        if name in _APART:
            continue
        if beginning == "drop":
            drops[rest] = count
        elif beginning in ("read", "write", "socket", "lane") and name not in _NO_DROPS:
            drops[name] = count
        elif beginning == "refused":
            refusals[rest] = count
        elif beginning == "handshake":
            handshakes[rest] = count
        else:
            others[name] = count
    yield _counter("ipop_drops_total", "Packets and messages that were dropped.", "cause", drops)
    yield _counter("ipop_refusals_total", "Peers, certificates and claims that were refused.", "cause", refusals)
    yield _counter("ipop_handshakes_total", "Handshakes, by what came of them.", "result", handshakes)
    yield _counter("ipop_link_events_total", "What else the links count.", "event", others)


def _peers(peers: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    peers = list(peers)
    paths = Counter(peer["path"] for peer in peers)
    by_path = {path: paths[path] for path in PATHS}
    yield _gauge("ipop_sessions", "Sessions with other nodes, by the path that they use.", "path", by_path)
    members = sum(bool(peer["member"]) for peer in peers)
    yield GaugeMetricFamily("ipop_member_sessions", "Sessions with members of the namespace.", members)
    kinds = {kind: sum(kind in peer["kinds"] for peer in peers) for kind in KINDS}
    yield _gauge("ipop_wanted_links", "Peers that this node wants a link to, by reason.", "kind", kinds)
    rtt = GaugeMetricFamily(
        "ipop_session_rtt_seconds",
        "Round trips to peers, as last measured: the shortest, the median and the longest.",
        labels=("path", "statistic"),
    )
    for path in ("direct", "overlay"):
        found = [peer["rtt_ms"] / 1000 for peer in peers if peer["path"] == path and peer["rtt_ms"] is not None]
        for statistic, of in (("minimum", min), ("median", median), ("maximum", max)) if found else ():
            rtt.add_metric((path, statistic), of(found))
    yield rtt


def _ring(topology: Mapping[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily("ipop_ring_joined", "1 while this node is in the ring.", float(topology["joined"]))
    size = topology["size_estimate"]
    yield GaugeMetricFamily("ipop_ring_estimated_nodes", "Nodes in the ring, as this node estimates.", size)
    kinds = Counter(neighbour["kind"] for neighbour in topology["neighbours"])
    yield _gauge("ipop_ring_neighbours", "Nodes with a direct link, by place in the ring.", "kind", kinds)
    states = Counter(claim["state"] for claim in topology["registered"])
    addresses = {state: states[state] for state in ("waiting", "registered", "taken")}
    yield _gauge("ipop_addresses", "This node's virtual addresses, by state in the directory.", "state", addresses)
    if topology["members"] is not None:
        help_text = "Other members of the namespace that the directory knows."
        yield GaugeMetricFamily("ipop_namespace_members", help_text, topology["members"])
    records = topology["counters"]["records"]
    yield GaugeMetricFamily("ipop_directory_records", "Records that this node keeps for the directory.", records)
    dropped = topology["counters"]["dropped"]
    yield CounterMetricFamily("ipop_topology_dropped_total", "Messages of the ring that made no sense.", dropped)
    limits = ("hello", "put", "repair", "replica", "survey")
    limited = {kind: topology["counters"].get(f"drop_{kind}_limit", 0) for kind in limits}
    help_text = "Messages of the ring beyond what one neighbour may hand over, by kind."
    yield _counter("ipop_topology_limited_total", help_text, "kind", limited)
    answers, latency = topology["lookups"]["answers"], topology["lookups"]["latency_s"]
    yield _counter("ipop_directory_lookups_total", "Lookups of addresses, by how they ended.", "answer", answers)
    buckets, total = [], 0
    for bound, count in zip([*map(str, latency["bounds"]), "+Inf"], latency["counts"], strict=True):
        total += count
        buckets.append((bound, float(total)))
    help_text = "How long lookups took that went to the directory."
    yield HistogramMetricFamily("ipop_directory_lookup_seconds", help_text, buckets, latency["sum"])


def _contact(signal: Mapping[str, Any]) -> Iterator[Metric]:
    states = Counter(bootstrap["state"] for bootstrap in signal["bootstraps"])
    bootstraps = {state: states[state] for state in ("waiting", "connecting", "connected", "self")}
    yield _gauge("ipop_bootstraps", "Bootstraps, by state.", "state", bootstraps)
    counters = signal.get("counters", {})
    yield _counter("ipop_signal_events_total", "Connection offers, and what came of them.", "event", counters)


def _log(lines: Mapping[str, int]) -> Iterator[Metric]:
    by_level = {level: lines.get(level, 0) for level in LEVELS}
    yield _counter("ipop_log_lines_total", "Lines written to the log, of all processes.", "level", by_level)
    repeated, lost = lines.get("repeated", 0), lines.get("lost", 0)
    yield CounterMetricFamily(
        "ipop_log_repeated_lines_total", "Lines that only a count in the log stands for.", repeated
    )
    yield CounterMetricFamily("ipop_log_lost_lines_total", "Lines that could not be written.", lost)


def _names(resolver: Mapping[str, Any]) -> Iterator[Metric]:
    queries, answers = resolver.get("queries", {}), resolver.get("answers", {})
    yield _counter("ipop_resolver_queries_total", "Questions for names and addresses.", "transport", queries)
    yield _counter("ipop_resolver_answers_total", "Answers, by DNS response code.", "rcode", answers)
    counters = resolver["counters"].items()
    dropped = {name.removeprefix("drop_"): count for name, count in counters if name.startswith("drop_")}
    yield _counter("ipop_resolver_drops_total", "What the resolver did not answer.", "cause", dropped)


def _protection(crypto: Mapping[str, Any]) -> Iterator[Metric]:
    """What the role crypto says; which module fills it is its own affair."""
    on, ready = "1 while only protected packets may pass.", "1 while it is on and keys can be made."
    yield GaugeMetricFamily("ipop_crypto_on", on, float(crypto["on"]))
    yield GaugeMetricFamily("ipop_crypto_ready", ready, float(crypto["ready"]))
    counted = Counter(item["state"] if item["state"] in STATES else "other" for item in crypto["associations"])
    states = {state: counted[state] for state in STATES}
    yield _gauge("ipop_crypto_associations", "Peers with keys, or on the way to them, by state.", "state", states)
    restarts = crypto.get("restarts", 0)
    help_text = "How often the key daemon was started again."
    yield CounterMetricFamily("ipop_crypto_daemon_restarts_total", help_text, restarts)
    if (number := crypto.get("revocations")) is not None:
        help_text = "Number of the list of revoked certificates in use; none while there is no list."
        yield GaugeMetricFamily("ipop_crypto_revocation_list_number", help_text, number)
    help_text = "Packets that were dropped or refused, by cause; the kernel's causes are of the whole machine."
    yield _counter("ipop_crypto_drops_total", help_text, "cause", crypto.get("counters", {}))


def _gauge(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=(label,))
    for key, value in _bounded(values):
        family.add_metric((key,), value)
    return family


def _counter(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=(label,))
    for key, value in _bounded(values):
        family.add_metric((key,), value)
    return family


def _both_ways(name: str, help_text: str, figures: Mapping[str, int], what: str) -> Metric:
    values = {"in": figures[f"{what}_in"], "out": figures[f"{what}_out"]}
    return _counter(name, help_text, "direction", values)


def _bounded(values: Mapping[str, float]) -> list[tuple[str, float]]:
    items = sorted(values.items())
    if len(items) <= MOST:
        return items
    return [*items[: MOST - 1], ("other", sum(value for _, value in items[MOST - 1 :]))]
