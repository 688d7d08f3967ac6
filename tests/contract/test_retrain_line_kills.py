"""Every write of a crowded line is the last one of an operator once. Slow, and so not among the fast laws."""

from __future__ import annotations

from tests.line_lab import LineLab


def life(kill_at: int = 0) -> LineLab:
    """Five schedules of three priorities before two places."""
    lab = LineLab({f"s{number}": {"priority": number % 3} for number in range(5)}, limit=2, seed=7)
    lab.kill_at = kill_at
    lab.live()
    return lab


def test_a_kill_after_any_write_gives_no_place_twice_and_starts_nobody_twice() -> None:
    """The lab holds each Job that is made to both laws; here all runs have to come to their end, too."""
    writes = life().writes
    assert writes > 30
    for point in range(1, writes):
        lab = life(point)
        assert lab.kill_at == 0
        assert sorted(lab.started) == [ref.name for ref in lab.refs]
