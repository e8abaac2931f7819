"""Answers from figures that are known: differences, equal trained reward, time to a level."""

import numpy
import pytest

from toolkit.bench.answers import answer
from toolkit.bench.figures import ArmFigures
from toolkit.bench.methods import Lengths
from toolkit.bench.question import Question

NOISE = numpy.linspace(-0.1, 0.1, 12)


def arm(name, rewards, judges, seconds=None, pace=0.5):
    """Three seeds; every picture's figures are the given means, checked at updates 0, 10, 20 …"""
    seconds = judges if seconds is None else seconds

    def at(index):
        pictures = {"reward": rewards[index], "judge": judges[index], "second": seconds[index]}
        return {
            "pictures": {key: list(value + NOISE) for key, value in pictures.items()},
            "values": {"distance": 0.1 * index},
            "guards": {"second": "bad" if index == 2 else "ok"},
        }

    run = {str(10 * index): at(index) for index in range(len(rewards))}
    return ArmFigures(name, Lengths(10 * (len(rewards) - 1), 10, 10), pace, {}, [run] * 3)


FAST = arm("fast", [0.0, 0.4, 0.8], [0.2, 0.3, 0.4])
SLOW = arm("slow", [0.0, 0.2, 0.4], [0.2, 0.3, 0.6], seconds=[0.2, 0.1, 0.0], pace=2.0)
ARMS = {"fast": FAST, "slow": SLOW}


def answered(**question):
    return answer(Question(ask="?", arms=("fast", "slow"), **question), ARMS)


def test_compare_is_the_difference_to_the_first_arm_at_the_same_budget():
    judge, reward = answered(kind="compare", figures=("judge", "reward"))
    assert (judge.arm, judge.value, judge.low, judge.high) == ("slow", *[pytest.approx(0.2)] * 3)
    assert reward.value == pytest.approx(-0.4)
    (early,) = answered(kind="compare", figures=("reward",), at="samples")
    assert early.value == pytest.approx(-0.2)


def test_a_picture_is_hacked_where_the_trained_reward_rose_and_the_other_fell():
    assert SLOW.pictures("hacked", 20).mean() == 1
    assert FAST.pictures("hacked", 20).mean() == 0
    assert FAST.pictures("hacked", 0).mean() == 0


def test_equal_reward_reads_both_arms_where_the_slower_one_ends():
    """The trained reward that both reach is 0.4: fast passes it at its first check, slow at its last."""
    lines = {(line.arm, line.figure): line.value for line in answered(kind="equal_reward")}
    assert lines["fast", "judge at trained reward 0.400"] == pytest.approx(0.3)
    assert lines["slow", "judge at trained reward 0.400"] == pytest.approx(0.6)
    assert lines["slow", "judge there, minus fast's"] == pytest.approx(0.3)


def test_reach_counts_updates_or_seconds_to_the_level_that_all_reach():
    """The judge's 0.4 is where fast ends; slow crosses it a third of the way between its checks."""
    fast, slow = answered(kind="reach")
    assert (fast.value, slow.value) == (20, pytest.approx(10 + 10 / 3))
    assert answered(kind="reach", unit="seconds")[1].value == pytest.approx(2 * (10 + 10 / 3))


def test_the_last_check_before_a_budget_stands_for_it_and_bad_guards_are_counted():
    assert (SLOW.at("wall"), SLOW.at("samples")) == (20, 10)
    assert SLOW.bad_guards(20) == ["second 3/3"]
    assert SLOW.bad_guards(10) == []


def test_a_run_that_ended_early_stands_at_its_last_check():
    short = {update: SLOW.runs[0][update] for update in ("0", "10")}
    mixed = ArmFigures("mixed", SLOW.lengths, 1.0, {}, [SLOW.runs[0], short, SLOW.runs[0]])
    assert mixed.updates == [0, 10, 20]
    assert mixed.pictures("judge", 20).mean(axis=1) == pytest.approx([0.6, 0.3, 0.6])
    assert mixed.bad_guards(20) == ["second 2/3"]
