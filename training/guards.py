"""Guards against reward hacking: what is watched, when it is bad, and what that means for the run.

The thresholds were fixed on development runs of the demo world (seed 7); benchmarks/guard_runs.py holds them to healthy
and bad runs at other seeds. Everything here is pure: checks come in as the plain values of events, so a resumed run
decides alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "watch", "bad"]
Values = Mapping[str, float | None]
IN_A_ROW = 2  # a guard that is bad this many checks running ends the run
OUTRUN = 0.1  # of its rise up to the best checkpoint: more rise of the trained reward after it is gaming


@dataclass(frozen=True)
class Guard:
    """Holds one value against the base's: as a ratio to it, a difference from it, or as it is."""

    name: str
    compare: Literal["ratio", "difference", "value"]
    watch: tuple[float, float]
    bad: tuple[float, float]
    falling: str
    rising: str

    def compared(self, values: Values, base: Values) -> float:
        """The number that the thresholds are about; NaN when there is none."""
        now, before = values.get(self.name), base.get(self.name)
        if now is None or before is None:
            return float("nan")
        if self.compare == "ratio":
            return now / before if before else 1.0
        return now - before if self.compare == "difference" else now

    def judge(self, values: Values, base: Values) -> tuple[State, str]:
        """The light and its sentence (empty when all is well). What a run never measures is no worry; NaN is."""
        if self.name not in values and self.name not in base:
            return "ok", ""
        number = self.compared(values, base)
        if math.isnan(number):
            return "bad", f"The value `{self.name}` of the pictures is not a number."
        for state, (low, high) in (("bad", self.bad), ("watch", self.watch)):
            if not low <= number <= high:
                return state, self.rising if number > high else self.falling  # type: ignore[return-value]
        return "ok", ""


FREE = float("inf")
GUARDS = (
    Guard(
        "words", "value", watch=(-FREE, 0.97), bad=(-FREE, 0.995), falling="",
        rising="The reward hardly tells the two words apart, so there is no direction to learn.",
    ),
    Guard(
        "second", "difference", watch=(0.0, FREE), bad=(-0.03, FREE), rising="",
        falling="The second reward is below the base: the trained reward is being gamed.",
    ),
    Guard(
        "recall", "difference", watch=(-0.10, FREE), bad=(-0.25, FREE), rising="",
        falling="Pictures no longer show what the prompt asks for.",
    ),
    Guard(
        "diversity", "ratio", watch=(0.88, FREE), bad=(0.78, FREE), rising="",
        falling="Pictures are becoming alike.",
    ),
    Guard(
        "saturation", "difference", watch=(-0.15, 0.15), bad=(-0.25, 0.25),
        falling="Colours are fading.", rising="Colours are becoming too strong.",
    ),
    Guard(
        "brightness", "difference", watch=(-0.15, 0.15), bad=(-0.25, 0.25),
        falling="Pictures are going dark.", rising="Pictures are washing out.",
    ),
    Guard(
        "clipped", "difference", watch=(-FREE, 0.15), bad=(-FREE, 0.30), falling="",
        rising="More pixels are burnt out or black.",
    ),
    Guard(
        "texture", "ratio", watch=(0.45, 1.6), bad=(0.30, 2.2),
        falling="Fine detail is vanishing.",
        rising="Fine texture is rising: the reward may be getting gamed.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """The measured values at one update."""

    update: int
    values: Values


@dataclass(frozen=True)
class Verdict:
    """What the checks so far say: which checkpoint is best, whether to stop, and the sentence for people.

    `fallback` is what an alarm would leave, or has left: best until then or not, it must not be deleted.
    """

    best: int
    fallback: int
    stop: bool
    alarms: tuple[str, ...]
    sentence: str


def lights(check: Check, base: Check) -> dict[str, dict[str, str]]:
    """Each guard's state and sentence, for events and pages."""
    judged = {guard.name: guard.judge(check.values, base.values) for guard in GUARDS}
    return {name: {"state": state, "sentence": sentence} for name, (state, sentence) in judged.items()}


def bad_guards(check: Check, base: Check) -> list[Guard]:
    """The guards that are bad at this check."""
    return [guard for guard in GUARDS if guard.judge(check.values, base.values)[0] == "bad"]


def verdict(checks: Sequence[Check], *, patience: int, updates: int) -> Verdict:
    """Judge a run by its checks, the first of which is the base (update 0).

    Best: the healthy checkpoint with the highest score of the second reward, if above the base's; otherwise the base.
    After an alarm no checkpoint has the benefit of the doubt: `_beyond_doubt`.
    Stop: a guard bad `IN_A_ROW` checks running, or `patience` checks without a new best. If the trained reward went on
    rising meanwhile, that is an alarm too: what it rose by is not what the second reward sees.
    """
    base, latest = checks[0], checks[-1]
    healthy = [check for check in checks if not bad_guards(check, base)]
    kept = _best(healthy, base)
    stale = sum(check.update > kept.update for check in checks)
    alarms = tuple(guard.judge(latest.values, base.values)[1] or guard.rising for guard in _lasting(checks))
    alarms = alarms or (_outrun(base, kept, latest) if stale >= patience else ())
    fallback = _best([check for check in healthy if _beyond_doubt(check, base)], base)
    kept = fallback if alarms else kept
    stop = bool(alarms) or stale >= patience
    sentence = _sentence(checks, kept.update, alarms, stale, patience, updates)
    return Verdict(kept.update, fallback.update, stop and latest.update < updates, alarms, sentence)


def _best(candidates: Sequence[Check], base: Check) -> Check:
    return max((check for check in candidates if _score(check) > _score(base)), key=_score, default=base)


def _beyond_doubt(check: Check, base: Check) -> bool:
    """Every light green, and subjects found no more rarely than in the base's pictures.

    On a few dozen pictures a loss of subjects that matters may not yet reach its threshold.
    """
    green = all(guard.judge(check.values, base.values)[0] == "ok" for guard in GUARDS)
    now, before = check.values.get("recall"), base.values.get("recall")
    return green and (now is None or before is None or now >= before)


def _score(check: Check) -> float:
    value = check.values.get("second")
    return float("-inf") if value is None else value


def _lasting(checks: Sequence[Check]) -> list[Guard]:
    """The guards that raise an alarm: bad at the base already, or bad in each of the last checks."""
    base = checks[0]
    hopeless = [guard for guard in bad_guards(base, base) if guard.compare == "value"]
    if hopeless or len(checks) < IN_A_ROW + 1:
        return hopeless
    recent = [bad_guards(check, base) for check in checks[-IN_A_ROW:]]
    return [guard for guard in recent[0] if all(guard in others for others in recent[1:])]


def _outrun(base: Check, kept: Check, latest: Check) -> tuple[str, ...]:
    """Goodhart's sign: the trained reward has risen since the best checkpoint, the second has not."""
    first, best, last = (check.values.get("reward") for check in (base, kept, latest))
    if first is None or best is None or last is None or last - best <= OUTRUN * max(best - first, 0.0):
        return ()
    return ("The trained reward goes on rising and the second reward does not follow: it is being gamed.",)


def _sentence(
    checks: Sequence[Check], best: int, alarms: tuple[str, ...], stale: int, patience: int, updates: int
) -> str:
    latest = checks[-1].update
    kept = f"Best checkpoint {best} kept." if best else "No checkpoint was better than the base, which is kept."
    if alarms and not best:
        kept = "No checkpoint is beyond doubt, so the base is kept."
    if alarms:
        return f"Stopped at {latest}: {alarms[0][0].lower()}{alarms[0][1:].rstrip('.')}. {kept}"
    if stale >= patience and latest < updates:
        return f"Stopped at {latest}: the second reward has not risen for {stale} checks. {kept}"
    return f"{'Finished' if latest >= updates else 'Reached'} {latest} of {updates} updates. {kept}"
