"""An alarm speaks when a number has been wrong for a while, and only then."""

import pytest

from training.alarms import LEAST, Alarm, raised
from training.methods import METHODS
from training.tables import load_class

HIGH = Alarm("logit_p99", 10.0, "saturated")
RISING = Alarm("gap_chosen", 0.0, "displaced", rising=True)


def series(name: str, *values: float | None) -> list[dict[str, float | None]]:
    return [{name: value} for value in values]


def test_a_lasting_value_above_the_limit_is_told() -> None:
    assert raised([HIGH, RISING], series("logit_p99", *[12.0] * LEAST)) == ("saturated",)


def test_one_outlier_or_too_short_a_history_is_not() -> None:
    assert raised([HIGH], series("logit_p99", *[2.0] * 40, 90.0)) == ()
    assert raised([HIGH], series("logit_p99", *[12.0] * (LEAST - 1))) == ()
    assert raised([HIGH], series("other", *[12.0] * 60)) == ()


def test_a_rising_alarm_is_silent_once_the_number_falls() -> None:
    up = [0.001 * n for n in range(60)]
    assert raised([RISING], series("gap_chosen", *up)) == ("displaced",)
    assert raised([RISING], series("gap_chosen", *up, *[0.001] * 30)) == ()
    assert raised([RISING], series("gap_chosen", *[-value for value in up])) == ()


def test_updates_without_the_number_are_skipped() -> None:
    assert raised([HIGH], series("logit_p99", *[12.0, None] * LEAST)) == ("saturated",)


@pytest.mark.parametrize(
    ("name", "metric"), [("flow_grpo", "zero_std"), ("nft", "zero_std"), ("ddpo", "clipped_one_sided")]
)
def test_group_methods_warn_of_what_teaches_nothing(name: str, metric: str) -> None:
    alarms = load_class(METHODS, name).alarms
    assert raised(alarms, series(metric, *[0.1] * LEAST)) == ()
    (sentence,) = raised(alarms, series(metric, *[0.9] * LEAST))
    assert sentence == next(alarm.sentence for alarm in alarms if alarm.metric == metric)
