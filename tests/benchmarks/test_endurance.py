"""What an endurance run comes to."""

from benchmarks.endurance import Sample, growth


def test_only_the_second_half_counts() -> None:
    samples = [Sample(0, 50, 50), Sample(10, 90, 100), Sample(20, 90, 100), Sample(30, 90, 110)]
    assert growth(samples) == {"left": 0.0, "right": 3600.0}
    assert growth(samples[:1]) == {"left": 0.0, "right": 0.0}
