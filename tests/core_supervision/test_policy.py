from ipop_core.supervision.policy import FORGIVEN_AFTER, HEARTBEATS_MISSED, LONGEST_WAIT, Heartbeat, RestartPolicy


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
