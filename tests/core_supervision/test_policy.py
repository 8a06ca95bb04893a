from ipop_core.supervision.policy import (
    FORGIVEN_AFTER,
    HEARTBEATS_MISSED,
    LONGEST_WAIT,
    START_LIMIT,
    Heartbeat,
    RestartPolicy,
)


def test_waits_double_up_to_the_longest() -> None:
    policy = RestartPolicy()
    waits = [policy.died(0.0) for _ in range(40)]
    assert waits[:4] == [0.05, 0.1, 0.2, 0.4]
    assert waits[-1] == LONGEST_WAIT


def test_health_is_forgiveness() -> None:
    policy = RestartPolicy()
    for _ in range(5):
        policy.died(0.0)
    policy.started(10.0)
    assert policy.died(10.0 + FORGIVEN_AFTER - 1) > 1
    policy.started(100.0)
    assert policy.died(100.0 + FORGIVEN_AFTER) == 0.05


def test_a_long_start_is_no_health() -> None:
    policy = RestartPolicy()
    policy.died(0.0)
    assert policy.died(1000.0) == 0.1


def test_three_heartbeats_without_an_answer() -> None:
    heartbeat = Heartbeat()
    for _ in range(10):
        assert heartbeat.beat()
        heartbeat.answered()
    assert [heartbeat.beat() for _ in range(HEARTBEATS_MISSED + 1)] == [True] * HEARTBEATS_MISSED + [False]


def beats(policy: RestartPolicy) -> int:
    heartbeat = policy.heartbeat()
    return next(count for count in range(100) if not heartbeat.beat())


def test_what_was_killed_as_it_seemed_to_hang_gets_twice_the_time_until_it_has_been_healthy() -> None:
    policy = RestartPolicy()
    found = [(policy.start_limit, beats(policy))]
    for _ in range(4):
        policy.died(0.0, hung=True)
        found.append((policy.start_limit, beats(policy)))
    assert found == [(START_LIMIT * times, HEARTBEATS_MISSED * times) for times in (1, 2, 4, 8, 8)]
    policy.died(0.0)
    assert policy.start_limit == START_LIMIT * 8, "another death says nothing about that"
    policy.started(10.0)
    policy.died(10.0 + FORGIVEN_AFTER, hung=True)
    assert policy.start_limit == START_LIMIT * 2
