"""When a run ends, which checkpoint it keeps, and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import guards
from training.guards import GUARDS, Check, bad_guards, lights, verdict

HEALTHY = {
    "words": 0.5, "second": 0.10, "recall": 0.80, "diversity": 0.50,
    "saturation": 0.40, "brightness": 0.50, "clipped": 0.05, "texture": 0.30,
}  # fmt: skip


def run_of(*seconds: float | None, **changes) -> list[Check]:
    """Checks every 10 updates with these scores of the second reward; changes: value → list, from the end."""
    checks = []
    for place, second in enumerate(seconds):
        late = {
            name: values[place - len(seconds) + len(values)]
            for name, values in changes.items()
            if place >= len(seconds) - len(values)
        }
        checks.append(Check(10 * place, HEALTHY | {"second": second} | late))
    return checks


def judged(*seconds: float | None, patience: int = 3, updates: int = 100, **changes) -> guards.Verdict:
    return verdict(run_of(*seconds, **changes), patience=patience, updates=updates)


def state(name: str, value: float | None, base: float | None = None) -> str:
    now = Check(10, HEALTHY | {name: value})
    before = Check(0, HEALTHY if base is None else HEALTHY | {name: base})
    return lights(now, before)[name]["state"]


def test_the_best_checkpoint_has_the_highest_second_score() -> None:
    assert judged(0.10, 0.15, 0.30, 0.25).best == 20


def test_the_first_of_equal_checkpoints_is_best() -> None:
    assert judged(0.10, 0.30, 0.30).best == 10


def test_the_base_is_kept_when_nothing_was_better() -> None:
    result = judged(0.10, 0.09, 0.10, 0.08)
    assert (result.best, result.stop) == (0, True)
    assert result.sentence == (
        "Stopped at 30: the second reward has not risen for 3 checks. No checkpoint was better than the base, "
        "which is kept."
    )


def test_a_run_goes_on_while_it_improves() -> None:
    result = judged(0.10, 0.15, 0.20, 0.25)
    assert (result.stop, result.alarms, result.best) == (False, (), 30)
    assert result.sentence == "Reached 30 of 100 updates. Best checkpoint 30 kept."


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_a_run_stops_after_patience_checks_without_a_new_best(patience: int) -> None:
    falling = [0.10, 0.30, *[0.29] * patience]
    assert judged(*falling, patience=patience).stop
    assert not judged(*falling[:-1], patience=patience).stop
    assert judged(*falling, patience=patience).best == 10


def test_a_trained_reward_that_rises_alone_is_an_alarm() -> None:
    seconds = (0.10, 0.30, 0.29, 0.28, 0.29)
    gamed = judged(*seconds, reward=[0.10, 0.50, 0.52, 0.54, 0.56])
    assert (gamed.stop, gamed.best) == (True, 10)
    assert gamed.sentence.startswith("Stopped at 40: the trained reward goes on rising")
    for rewards in ([0.10, 0.50, 0.51, 0.52, 0.53], [0.10, 0.50, 0.40, 0.45, 0.49]):
        assert judged(*seconds, reward=rewards).alarms == ()


def test_a_trained_reward_that_rises_alone_from_the_start_is_an_alarm() -> None:
    gamed = judged(0.10, 0.09, 0.08, 0.07, reward=[0.10, 0.20, 0.30, 0.40])
    assert (len(gamed.alarms), gamed.best) == (1, 0)


def test_a_new_best_restores_patience() -> None:
    assert not judged(0.10, 0.30, 0.29, 0.28, 0.31, 0.30, 0.30).stop


def test_an_unhealthy_checkpoint_is_never_best_however_high_it_scores() -> None:
    result = judged(0.10, 0.20, 0.90, diversity=[0.10])
    assert (result.best, result.stop) == (10, False)


def test_a_checkpoint_below_an_unhealthy_base_is_not_best_either() -> None:
    checks = run_of(0.10, 0.09)
    checks[0] = Check(0, checks[0].values | {"words": 0.999})
    assert verdict(checks, patience=3, updates=100).best == 0


def test_a_guard_bad_twice_running_ends_the_run_and_is_named() -> None:
    result = judged(0.10, 0.20, 0.30, 0.40, diversity=[0.10, 0.10])
    assert (result.stop, result.best) == (True, 10)
    assert result.alarms == ("Pictures are becoming alike.",)
    assert result.sentence == "Stopped at 30: pictures are becoming alike. Best checkpoint 10 kept."


def test_after_an_alarm_a_checkpoint_with_any_yellow_light_is_not_trusted() -> None:
    normal = HEALTHY["texture"]
    flat = [0.4 * normal, normal, normal]
    for yellow in ({"diversity": [0.42, 0.10, 0.10]}, {"diversity": [0.10, 0.10], "texture": flat}):
        alike = judged(0.10, 0.20, 0.30, 0.40, 0.50, **yellow)
        assert (len(alike.alarms), alike.best) == (1, 10)
    assert judged(0.10, 0.20, 0.30, 0.29, 0.29, diversity=[0.42, 0.42, 0.42]).best == 20  # no alarm, no distrust


def test_after_an_alarm_a_checkpoint_that_finds_fewer_subjects_than_the_base_is_not_trusted() -> None:
    """A few dozen pictures do not show a loss of subjects well: less than the threshold is already in doubt."""
    recall = HEALTHY["recall"]
    fewer = {"recall": [recall, recall, recall - 0.03, recall, recall]}
    assert judged(0.10, 0.20, 0.30, 0.40, 0.50, **fewer, diversity=[0.10, 0.10]).best == 10
    assert judged(0.10, 0.20, 0.30, 0.29, 0.29, **fewer).best == 20


def test_after_an_alarm_the_base_is_kept_where_nothing_is_beyond_doubt() -> None:
    result = judged(0.10, 0.20, 0.30, diversity=[0.10, 0.10])
    assert result.best == 0
    assert result.sentence == (
        "Stopped at 20: pictures are becoming alike. No checkpoint is beyond doubt, so the base is kept."
    )


def test_a_trained_reward_that_rose_alone_leaves_no_yellow_checkpoint_either() -> None:
    rising = {"reward": [0.1, 0.3, 0.5, 0.7, 0.9, 1.1]}
    assert judged(0.10, 0.20, 0.30, 0.29, 0.29, 0.29, **rising).best == 20
    yellow = [0.4 * HEALTHY["texture"]] * 4
    assert judged(0.10, 0.20, 0.30, 0.29, 0.29, 0.29, **rising, texture=yellow).best == 10


def test_one_bad_check_is_forgiven_and_two_different_guards_are_no_alarm() -> None:
    assert judged(0.10, 0.20, 0.30, 0.40, diversity=[0.10, 0.50]).alarms == ()
    assert judged(0.10, 0.20, 0.30, 0.40, diversity=[0.10, 0.50], texture=[0.30, 0.90]).alarms == ()


def test_words_that_the_reward_cannot_tell_apart_end_the_run_before_it_begins() -> None:
    result = judged(0.0, words=[0.999])
    assert (result.stop, result.best) == (True, 0)
    assert result.sentence.startswith("Stopped at 0: the reward hardly tells the two words apart")


def test_a_run_without_words_or_features_is_not_blamed_for_what_it_does_not_measure() -> None:
    unmeasured = {"words", "recall", "diversity"}
    checks = [
        Check(check.update, {name: value for name, value in check.values.items() if name not in unmeasured})
        for check in run_of(0.10, 0.20, 0.30)
    ]
    assert bad_guards(checks[-1], checks[0]) == []
    assert verdict(checks, patience=3, updates=100).best == 20


@pytest.mark.parametrize("name", [guard.name for guard in GUARDS])
def test_a_value_that_is_not_a_number_is_bad_and_said_to_be(name: str) -> None:
    light = lights(Check(10, HEALTHY | {name: None}), Check(0, HEALTHY))[name]
    assert light["state"] == "bad"
    assert f"`{name}`" in light["sentence"]


def test_a_scorer_that_gives_no_numbers_keeps_the_base_and_ends_the_run() -> None:
    result = judged(None, None, None)
    assert (result.best, result.stop) == (0, True)
    assert "`second` of the pictures is not a number" in result.sentence


def test_a_finished_run_says_so() -> None:
    result = judged(0.10, 0.20, updates=10)
    assert (result.stop, result.sentence) == (False, "Finished 10 of 10 updates. Best checkpoint 10 kept.")


@pytest.mark.parametrize(
    ("name", "watched", "bad"),
    [
        ("words", [0.98], [0.996]),
        ("second", [0.09], [0.06]),
        ("recall", [0.68], [0.54]),
        ("diversity", [0.43], [0.38]),
        ("saturation", [0.24, 0.56], [0.14, 0.66]),
        ("brightness", [0.34, 0.66], [0.24, 0.76]),
        ("clipped", [0.21], [0.36]),
        ("texture", [0.13, 0.49], [0.08, 0.67]),
    ],
)
def test_every_guard_is_green_at_the_base_then_yellow_then_red(name: str, watched: list, bad: list) -> None:
    assert state(name, HEALTHY[name]) == "ok"
    assert [state(name, value) for value in watched] == ["watch"] * len(watched)
    assert [state(name, value) for value in bad] == ["bad"] * len(bad)


def test_every_light_that_is_not_green_has_a_sentence() -> None:
    for guard in GUARDS:
        for value in (-9.0, 9.0):
            light, sentence = guard.judge({guard.name: value}, {guard.name: 0.5})
            assert (light == "ok") == (sentence == "")


values = st.fixed_dictionaries(
    {name: st.one_of(st.none(), st.floats(value - 0.3, value + 0.3)) for name, value in HEALTHY.items()}
)


@given(checks=st.lists(values, min_size=1, max_size=8), patience=st.integers(1, 4), updates=st.integers(1, 80))
def test_the_best_checkpoint_is_healthy_and_never_worse_than_the_base(
    checks: list, patience: int, updates: int
) -> None:
    run = [Check(10 * place, content) for place, content in enumerate(checks)]
    result = verdict(run, patience=patience, updates=updates)
    best = next(check for check in run if check.update == result.best)
    if best is not run[0]:
        assert bad_guards(best, run[0]) == []
        assert best.values["second"] > run[0].values["second"]
    assert result.sentence.endswith("kept.")
    assert not (result.stop and run[-1].update >= updates)


@given(checks=st.lists(values, min_size=2, max_size=8))
def test_a_verdict_needs_only_the_events_of_the_past(checks: list) -> None:
    """A resumed run reads the same values back from its events and decides the same."""
    run = [Check(10 * place, content) for place, content in enumerate(checks)]
    again = [Check(check.update, dict(check.values)) for check in run]
    assert verdict(run, patience=3, updates=100) == verdict(again, patience=3, updates=100)
