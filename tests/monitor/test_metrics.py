"""What Prometheus is told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ipop_core.bus.api import Call, JsonObject
from ipop_core.testing import FakeRole
from ipop_modules.monitor.figures import Figures, gather
from ipop_modules.monitor.metrics import MOST, STATES, exposition
from ipop_modules.monitor.processes import read_usage
from tests.core_supervision.node import story
from tests.monitor.roles import answers, core_status, roles

DASHBOARD = Path(__file__).parents[2] / "packaging/grafana/ipop.json"
PAGE = Path(__file__).parents[2] / "docs/monitor.md"


def figures(*missing: str) -> Figures:
    async def work() -> Figures:
        async with roles(*missing) as (bus, _):
            return await gather(await bus.connect())

    return asyncio.run(work())


def samples(data: bytes) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(data.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_figures_of_a_node() -> None:
    found = samples(exposition(figures()))
    expected = {
        "ipop_ready{}": 1,
        "ipop_role_up{role=link}": 1,
        "ipop_bus_dropped_total{cause=queue_full}": 3,
        "ipop_module_restarts_total{module=tincan}": 2,
        "ipop_card_packets_total{direction=in}": 3,
        "ipop_card_bytes_total{direction=out}": 2,
        "ipop_session_bytes_total{direction=in}": 1000,
        "ipop_session_sent_datagrams_total{}": 25,
        "ipop_relayed_packets_total{}": 7,
        "ipop_relayed_bytes_total{}": 700,
        "ipop_drops_total{cause=no_route}": 4,
        "ipop_drops_total{cause=socket_full}": 1,
        "ipop_link_events_total{event=socket_closed}": 9,
        "ipop_refusals_total{cause=member}": 2,
        "ipop_handshakes_total{result=completed}": 6,
        "ipop_handshakes_total{result=no_answer}": 5,
        "ipop_sessions{path=direct}": 1,
        "ipop_sessions{path=overlay}": 1,
        "ipop_sessions{path=none}": 0,
        "ipop_session_rtt_seconds{path=direct,statistic=median}": 0.00125,
        "ipop_session_rtt_seconds{path=overlay,statistic=maximum}": 0.008,
        "ipop_wanted_links{kind=shortcut}": 1,
        "ipop_ring_estimated_nodes{}": 9,
        "ipop_ring_neighbours{kind=near}": 1,
        "ipop_namespace_members{}": 3,
        "ipop_topology_limited_total{kind=hello}": 6,
        "ipop_topology_limited_total{kind=put}": 4,
        "ipop_topology_limited_total{kind=repair}": 8,
        "ipop_topology_limited_total{kind=replica}": 0,
        "ipop_directory_lookups_total{answer=found}": 3,
        "ipop_directory_lookup_seconds_bucket{le=0.1}": 2,
        "ipop_directory_lookup_seconds_bucket{le=+Inf}": 3,
        "ipop_directory_lookup_seconds_count{}": 3,
        "ipop_directory_lookup_seconds_sum{}": 0.5,
        "ipop_bootstraps{state=connected}": 1,
        "ipop_signal_events_total{event=offers_sent}": 1,
        "ipop_log_lines_total{level=info}": 10,
        "ipop_log_lines_total{level=error}": 3,
        "ipop_log_lines_total{level=debug}": 0,
        "ipop_log_repeated_lines_total{}": 2,
        "ipop_log_lost_lines_total{}": 1,
        "ipop_resolver_queries_total{transport=udp}": 6,
        "ipop_resolver_answers_total{rcode=servfail}": 1,
        "ipop_resolver_drops_total{cause=foreign}": 2,
        "ipop_crypto_on{}": 1,
        "ipop_crypto_ready{}": 1,
        "ipop_crypto_associations{state=protected}": 1,
        "ipop_crypto_associations{state=connecting}": 0,
        "ipop_crypto_associations{state=other}": 1,
        "ipop_crypto_daemon_restarts_total{}": 3,
        "ipop_crypto_revocation_list_number{}": 7,
        "ipop_crypto_drops_total{cause=in_no_pols}": 5,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "ipop_resolver_drops_total{cause=busy}" not in found
    # A process that is gone has no memory.
    assert found["ipop_process_memory_bytes{process=tincan}"] > 1_000_000
    assert "ipop_process_memory_bytes{process=topology}" not in found


def test_a_role_that_does_not_answer_is_missing() -> None:
    found = samples(exposition(figures("topology", "signal")))
    assert found["ipop_role_up{role=link}"] == 1
    assert "ipop_role_up{role=topology}" not in found
    assert not [name for name in found if name.startswith(("ipop_ring", "ipop_directory", "ipop_bootstraps"))]


@story
async def test_a_stuck_role_holds_no_scrape_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never answers, and is left out; the others' figures come when the patience with it ends."""
    monkeypatch.setattr("ipop_modules.monitor.figures.PATIENCE", 0.2)

    async def stuck(_: Call) -> JsonObject:
        await asyncio.Event().wait()
        raise AssertionError

    async with roles("topology", "resolver") as (bus, _):
        for name in ("topology", "resolver"):
            await FakeRole(bus, name, {"status": stuck}).start()
        async with asyncio.timeout(5):
            found = await gather(await bus.connect())
    assert sorted(found.roles) == ["crypto", "link", "logger", "signal"]
    assert len(found.peers) == 2


def test_a_node_without_crypto_has_no_figures_of_it() -> None:
    found = samples(exposition(figures("crypto")))
    assert not [name for name in found if name.startswith("ipop_crypto")]


@given(st.lists(st.text(max_size=20), max_size=50), st.dictionaries(st.text(max_size=40), st.integers(0), max_size=300))
def test_whatever_a_crypto_module_says_the_series_are_bounded(states: list[str], counters: dict[str, int]) -> None:
    said = answers()["crypto"]["status"] | {
        "counters": counters,
        "associations": [{"peer": "192.168.10.20", "state": state} for state in states],
    }
    found = samples(exposition(Figures(core=core_status(), roles={"crypto": said})))
    counted = [name for name in found if name.startswith("ipop_crypto_associations{")]
    assert len(counted) == len(STATES)
    assert sum(found[name] for name in counted) == len(states)
    assert sum(name.startswith("ipop_crypto_drops_total{") for name in found) <= MOST


def find_promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool, of Debian's package prometheus, is not here")
    return found


def test_promtool_takes_the_configuration_that_the_page_shows(tmp_path: Path) -> None:
    shown = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    configuration, token = tmp_path / "prometheus.yml", tmp_path / "ipop-token"
    token.write_text("token")
    configuration.write_text("".join(shown).replace("/etc/prometheus/ipop-token", str(token)))
    done = subprocess.run([find_promtool(), "check", "config", configuration], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_no_fault() -> None:
    promtool = find_promtool()
    done = subprocess.run([promtool, "check", "metrics"], input=exposition(figures()), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@given(st.dictionaries(st.text(max_size=40), st.integers(0, 1 << 60), max_size=300))
@example({"lane": 1})
def test_whatever_is_counted_the_series_are_bounded(counters: dict[str, int]) -> None:
    link: dict[str, Any] = answers()["link"]["status"] | {"counters": counters}
    found = samples(exposition(Figures(core=core_status(), roles={"link": link})))
    for metric in ("ipop_drops_total", "ipop_link_events_total", "ipop_handshakes_total", "ipop_refusals_total"):
        assert sum(name.startswith(metric + "{") for name in found) <= MOST
    total = sum(value for name, value in found.items() if name.startswith("ipop_link_events_total"))
    prefixes = ("drop", "read", "write", "socket", "lane", "refused", "handshake")
    others = [
        count
        for name, count in counters.items()
        if name not in ("handshakes", "relayed", "relayed_bytes") and name.partition("_")[0] not in prefixes
    ]
    assert total >= sum(others) * (1 - 1e-9)


def test_what_is_beyond_the_bound_is_added_up() -> None:
    counters = {f"drop_{number:04}": 1 for number in range(MOST + 50)}
    link: dict[str, Any] = answers()["link"]["status"] | {"counters": counters}
    found = samples(exposition(Figures(core=core_status(), roles={"link": link})))
    drops = {name: value for name, value in found.items() if name.startswith("ipop_drops_total{")}
    assert (len(drops), sum(drops.values())) == (MOST, MOST + 50)
    assert drops["ipop_drops_total{cause=other}"] == 51


def test_usage_of_this_process() -> None:
    usage = read_usage(1 << 22)
    assert usage is None
    mine = read_usage(os.getpid())
    assert mine is not None
    assert mine.memory > 1_000_000
    spent = os.times()
    assert mine.cpu == pytest.approx(spent.user + spent.system, abs=0.1)


def named_metrics(text: str) -> set[str]:
    return set(re.findall(r"\bipop_[a-z_]+\b", text))


def known_metrics() -> set[str]:
    families = list(text_string_to_metric_families(exposition(figures()).decode()))
    names = {sample.name for family in families for sample in family.samples}
    return names | {family.name for family in families}


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_every_metric_of_the_dashboard_exists_and_each_has_a_panel() -> None:
    named = set().union(*(named_metrics(expression) for expression in expressions()))
    assert named <= known_metrics()
    shown = {name.removesuffix("_total").removesuffix("_bucket") for name in named}
    families = text_string_to_metric_families(exposition(figures()).decode())
    assert [family.name for family in families if family.name not in shown] == []


def test_panels_have_places_of_their_own() -> None:
    identifiers = [panel["id"] for panel in panels()]
    assert len(set(identifiers)) == len(identifiers)
    taken = Counter(
        (column, row)
        for place in (panel["gridPos"] for panel in panels())
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    )
    assert set(taken.values()) == {1}
    assert {column for column, _ in taken} == set(range(24))


def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    """As a rule each; Grafana fills in what begins with a `$`."""
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__(rate_interval|range)", "5m", expression)}
        for number, expression in enumerate(expressions())
    ]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([find_promtool(), "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_documentation_names_every_metric_and_no_other() -> None:
    families = text_string_to_metric_families(exposition(figures()).decode())
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert set(re.findall(r"^\| `(ipop_[a-z_]+)`", PAGE.read_text(), re.MULTILINE)) == names
