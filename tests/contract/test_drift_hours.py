"""A daily cycle from training to status: the toolbox's profile, a pod's counts, and the operator's looks at them."""

import numpy as np
import pytest

from bench.drift.counting import Pod
from tests.unit.adapters.test_monitor import pod as pod_object
from trimtab.adapters.monitor.course import Course
from trimtab.adapters.monitor.profile import read_profile
from trimtab.evidence.drift.episode import Episode, follow
from trimtab.evidence.drift.history import BUCKET, DAY, HOUR
from trimtab.evidence.drift.judge import Policy
from trimtab.evidence.drift.labels import Labels
from trimtab.kinds.modeldeployment.observe import Watch

ROWS, FEATURES = 100, 3
SHIFTED_AT = DAY + 15 * HOUR


def rows(dice, times, shift=0.0):
    """Rows of a cycle of half a deviation; the first feature is further away by `shift`."""
    found = dice.normal(size=(len(times), FEATURES)) + 0.5 * np.sin(2 * np.pi * times / DAY)[:, None]
    found[:, 0] += shift
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def episodes():
    """By whether the profile knows the hours: the level after each bucket of two days, with a shift on the second."""
    dice = np.random.default_rng(1)
    trained_at = dice.uniform(0, 30 * DAY, 30_000)
    training, found = rows(dice, trained_at), {}
    for dated in (True, False):
        pod = Pod(training, (trained_at // HOUR % 24).astype(np.int64) if dated else None)
        profile = read_profile(pod_object(), 200, pod.profile, None)
        course = Course(Watch("deployment", "sha256:" + "ab" * 32, (), BUCKET, Policy()), profile, (), ())
        episode, told = Episode(), []
        for start in range(0, 2 * DAY, BUCKET):
            times = start + dice.uniform(0, BUCKET, ROWS)
            counted = pod.window(rows(dice, times, 1.0 if start >= SHIFTED_AT else 0.0), start // HOUR % 24)
            course.add(start, counted, Labels())
            course.close(start + BUCKET)
            episode = follow(episode, course.finding.drift.look, start + BUCKET)
            told.append(episode.level)
        found[dated] = told
    return found


def test_a_cycle_alone_is_drift_only_for_a_profile_that_does_not_know_the_hours(episodes):
    before = SHIFTED_AT // BUCKET
    assert set(episodes[True][:before]) == {"OK"}
    assert set(episodes[False][:before]) != {"OK"}


def test_a_shift_against_that_hour_is_found_within_the_hour(episodes):
    after = episodes[True][SHIFTED_AT // BUCKET :]
    assert next(place for place, level in enumerate(after, start=1) if level != "OK") * BUCKET <= HOUR
