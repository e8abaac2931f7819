"""What makes a run fit is tried in the order of least harm, one upon the other, and no more than is needed."""

from __future__ import annotations

from toolkit import recipe
from toolkit.recipe import Recipe
from training import fitting
from training.rehearsal import Findings

WORDS = {"positive": "a", "negative": "b"}
FLUX = recipe.parse(
    {"base": {"name": "flux", "gradient_checkpointing": False}, "words": WORDS, "training": {"batch_size": 8}}
)
WEIGHTS = {"none": 24, "int8_weight_only": 12, "nf4": 7}


def sizes(content: Recipe) -> Findings:
    """A network whose memory can be worked out by hand, in bytes."""
    base = content.base.settings
    load = WEIGHTS[base.get("quantisation", "none")] if not base.get("offload") else 1
    calls = 2 if content.method.settings.get("branches", "batched") == "batched" else 1
    activations = content.training.batch_size * calls * (2 if base.get("gradient_checkpointing", True) else 20)
    return Findings(peaks={"load": load, "denoise": load + activations})


def fit(memory: float, content: Recipe = FLUX) -> tuple[list[str], int]:
    """The changes, and how often it was rehearsed for them."""
    asked: list[Recipe] = []

    def rehearse(changed: Recipe) -> Findings:
        asked.append(changed)
        return sizes(changed)

    found = fitting.first_fit(content, sizes(content), memory, rehearse, lambda f: f.peak)
    return (found["changes"] if found else []), len(asked)


def test_the_harmless_come_first() -> None:
    names = [name for name, _ in fitting.switches(FLUX)]
    assert names[:5] == [
        "gradient checkpointing", "branches one after the other", "batch 1 with 8 accumulated",
        "checks one picture at a time", "int8 weights",
    ]  # fmt: skip
    assert names[5:] == ["nf4 weights", "weights in RAM", "768x768", "512x512", "rank 8"]


def test_no_more_is_switched_than_is_needed() -> None:
    assert fit(24 + 8 * 4) == (["gradient checkpointing"], 1)
    assert fit(24 + 8 * 2) == (["gradient checkpointing", "branches one after the other"], 2)


def test_weights_that_are_too_large_by_themselves_are_not_rehearsed() -> None:
    names, rehearsals = fit(15)
    assert names[-1] == "int8 weights"
    assert rehearsals == 1


def test_nf4_takes_the_place_of_int8() -> None:
    names, _ = fit(10)
    assert "nf4 weights" in names
    assert "int8 weights" not in names


def test_the_effective_batch_stays() -> None:
    found = fitting.first_fit(FLUX, sizes(FLUX), 24 + 2, sizes, lambda f: f.peak)
    assert found is not None
    assert found["settings"]["training.batch_size"] * found["settings"]["training.gradient_accumulation"] == 8


def test_what_fits_nowhere_says_so() -> None:
    assert fitting.first_fit(FLUX, sizes(FLUX), 1, sizes, lambda f: f.peak) is None


def test_a_base_without_a_switch_is_not_offered_it() -> None:
    names = [name for name, _ in fitting.switches(recipe.parse({"words": WORDS}))]
    assert names == [
        "branches one after the other", "batch 1 with 8 accumulated", "checks one picture at a time", "rank 8"
    ]  # fmt: skip


def test_scorers_lose_precision_before_the_base_does() -> None:
    content = recipe.parse(
        {"base": "flux", "words": WORDS, "reward": "hpsv21", "validation": {"scorer": {"name": "pickscore"}}}
    )
    names = [name for name, _ in fitting.switches(content)]
    assert names.index("scorers in bfloat16") < names.index("int8 weights")
    changed = fitting.changed(content, dict(fitting.switches(content))["scorers in bfloat16"])
    assert (changed.reward.settings, changed.validation.scorer.settings) == ({"dtype": "bfloat16"},) * 2
