"""Whole nodes and the models of them agree in a small ring, and it is told where they don't.

With 256 nodes: python -m benchmarks.overlay_net.agreement --nodes 256.
"""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from benchmarks.overlay_net import agreement, scenarios
from benchmarks.overlay_net.agreement import BOUNDS, MODELS, faults
from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.scenarios import Figures

SIZE, SEED = 12, 3
WHOLE: Figures = {
    **{"hops_mean": 2.0, "links_mean": 20.0, "bytes_per_node_s": 200.0, "join_ms_p50": 2000, "join_ms_p99": 3000},
    **{"lookup_success": 1.0, "deaths_ring_s": 15.0, "deaths_success_after": 1.0},
    **dict.fromkeys(agreement.NEVER, 0),
}


@pytest.mark.slow
def test_the_thin_model_agrees_with_whole_nodes() -> None:
    whole, thin = (agreement.figures_of(MODELS[model](SEED), SIZE, newcomers=4) for model in ("full", "thin"))
    print(whole, thin)
    assert not faults(whole, thin)
    assert not faults(whole, whole)
    assert whole["deaths_success_after"] == 1.0


def a_ring(model: str, seed: int, size: int) -> Figures:
    overlay = Overlay(MODELS[model](seed))
    overlay.grow(size)
    return scenarios.routes(overlay) | scenarios.joins(overlay, 3) | scenarios.lookups(overlay)


@pytest.mark.slow
def test_a_cheap_cipher_and_cheap_signatures_change_no_more_than_the_bounds_of_agreement() -> None:
    """Cheap signatures have other lengths, so a ring takes another course: the means of a few are compared."""
    real, cheap = ([a_ring(model, seed, SIZE) for seed in (1, 2, 3)] for model in ("full", "cheap"))
    compared = [name for name in BOUNDS if name in real[0]]
    assert {"hops_mean", "links_mean", "join_ms_p50", "lookup_success"} <= set(compared)
    means = {name: tuple(fmean(float(ring[name]) for ring in rings) for rings in (real, cheap)) for name in compared}
    print(means)
    assert [name for name, (one, other) in means.items() if not BOUNDS[name].holds(one, other)] == []


@pytest.mark.slow
def test_with_real_signatures_too_one_seed_gives_the_same_figures() -> None:
    """To the byte: a signature's own length varies, too."""
    spent = []
    for _ in range(2):
        overlay = Overlay(MODELS["full"](1))
        overlay.grow(6)
        spent.append(overlay.network.spent())
    assert spent[0] == spent[1]


@pytest.mark.parametrize(
    ("name", "near", "far"),
    [
        ("hops_mean", 2.09, 2.11),
        ("links_mean", 21.9, 17.9),
        ("bytes_per_node_s", 171, 231),
        ("join_ms_p50", 1701, 2301),
        ("lookup_success", 0.996, 0.994),
        ("deaths_ring_s", 29.9, 30.5),
        ("deaths_success_after", 0.996, 0.994),
        ("unreached", 0, 1),
        ("lookup_wrong", 0, 1),
        ("deaths_meanwhile_wrong", 0, 1),
        ("deaths_after_wrong", 0, 1),
    ],
)
def test_a_figure_beyond_its_bound_is_a_fault(name: str, near: float, far: float) -> None:
    assert not faults(WHOLE, WHOLE | {name: near})
    (fault,) = faults(WHOLE, WHOLE | {name: far})
    assert fault.startswith(f"{name}: {far}")


def test_it_ends_with_1_where_a_model_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agreement, "figures_of", lambda network, nodes: WHOLE)
    assert agreement.main([]) == 0
    assert "all agree" in capsys.readouterr().out
    given = iter([WHOLE, WHOLE, WHOLE | {"deaths_after_wrong": 2}])
    monkeypatch.setattr(agreement, "figures_of", lambda network, nodes: next(given))
    assert agreement.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)["differs"]["thin"] == ["deaths_after_wrong: 2, expected 0"]
