"""What is counted of blocks that have not come as a whole."""

from __future__ import annotations

from ipop_modules.tincan.link.protocol.joining import BLOCK_COST, CHUNK_COST, DEADLINE, Budget, Joiner, Run


def test_blocks_in_the_making_are_counted_until_they_are_given_up() -> None:
    budget = Budget()
    joiners = [Joiner(lambda _number: True, budget) for _ in range(2)]
    for number, joiner in enumerate(joiners):
        assert joiner.add(Run(1, number, 200, 0, 100, [memoryview(bytes(100))]), 5.0) is None
    assert (budget.blocks, budget.used) == (2, 2 * (BLOCK_COST + CHUNK_COST + 100))
    joiners[0].expire(5.0 + DEADLINE)
    joiners[1].close()
    assert (budget.blocks, budget.used) == (0, 0)
