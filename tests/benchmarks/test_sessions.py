"""What a run with many sessions comes to, and the crowd that plays them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks import crowd
from benchmarks.sessions import MOST_RATIO, summarize
from ipop_core.namespace import NamespaceSettings, build_namespace


def test_pairs_are_compared_and_not_medians() -> None:
    result = summarize({1: [0.1, 0.2, 0.4], 1000: [0.2, 0.1, 0.44]}, 20, 0.994)
    assert (result["ratio"], result["idle_percent"], result["missed"]) == (1.1, 0.99, [])
    assert result["cpu_s_per_gbit"] == {"1": 0.2, "1000": 0.2}
    dear = MOST_RATIO + 0.01
    assert summarize({1: [1.0], 1000: [dear]}, 20, 1.0)["missed"] == ["ratio", "idle"]


def test_the_crowd_has_its_sessions_once_it_is_gathered(tmp_path: Path) -> None:
    namespace = build_namespace(NamespaceSettings(name="crowd"))

    async def story() -> None:
        node = crowd.Peer(crowd.node_in(tmp_path / "node", namespace))
        await crowd.gather(20, f"127.0.0.1:{node.port}", namespace, tmp_path, 0.1)
        assert node.members == 20

    asyncio.run(story())
