"""What a footprint run comes to."""

from benchmarks.footprint import NODES, Footprint, middle


def test_each_figure_s_median_counts() -> None:
    runs = [Footprint(90.0, 3.0, 900.0), Footprint(100.004, 1.0, 5000.0), Footprint(95.0, 2.0, 1000.0)]
    assert middle(runs) == {"pss_mb": 95.0, "idle_cpu_percent": 2.0, "start_ms": 1000.0}


def test_names_are_distinct() -> None:
    names = [node.name for node in NODES]
    assert len(set(names)) == len(names)
