"""Preflight says before a run what would stop it later."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit import plan, recipe
from toolkit.errors import PalateError, UsageError

CONTENT = {"words": {"positive": "a", "negative": "b"}}


@pytest.mark.parametrize("role", ["train", "validation", "test"])
def test_a_missing_list_is_found_before_anything_starts(role: str, tmp_path: Path) -> None:
    content = recipe.parse(CONTENT, {f"prompts.{role}": str(tmp_path / "none.txt")})
    with pytest.raises(UsageError, match=r"none\.txt` does not exist"):
        plan.preflight(content)


def test_a_disk_that_is_nearly_full_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = recipe.parse(CONTENT)
    place = tmp_path / "not" / "there" / "yet"
    plan.preflight(content, place)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5 * 2**20))
    with pytest.raises(UsageError) as caught:
        plan.preflight(content, place)
    assert "Only 5 MB are free" in str(caught.value)
    assert "--output" in caught.value.action
    assert not place.exists()


PLAN = {
    "recipe": "mine", "phases": {"load": 2e9, "reward": 9e9}, "peak_bytes": 9e9, "needed_bytes": 10e9,
    "parts": {"network": 2e9, "text encoders": 0, "rewards": 1e6, "LoRA": 4e6},
    "device": {"name": "Card", "memory_bytes": 8e9, "fits": False}, "processes": 2,
    "batch": {"per_device": 1, "accumulation": 4, "effective": 8},
    "time": {
        "update_flops": 3e12, "seconds_per_update": 90.0, "seconds": 9000.0, "basis": "Card, a guess",
        "known_cards": {"H100": 1.5},
    },
    "disk": {"run": 5e8, "weights": 3e9, "free": 6e10}, "ram_bytes": 5e9, "fit": None,
}  # fmt: skip


def test_a_plan_is_one_sentence() -> None:
    assert plan.sentence(PLAN) == (
        "Needs about 10.0 GB of 8.0 GB of GPU memory, most of it in the phase `reward`. "
        "It does not fit, whatever is switched: it needs a larger card."
    )
    fit = {"changes": ["nf4 weights", "rank 8"], "settings": {}, "phases": {}}
    assert plan.sentence(PLAN | {"fit": fit}).endswith("It does not fit; with nf4 weights, rank 8 it does.")
    roomy = PLAN | {"device": {"name": "Card", "memory_bytes": 12e9, "fits": True}}
    assert plan.sentence(roomy).endswith("It fits.")
    on_cpu = PLAN | {"device": {"name": "this CPU", "memory_bytes": None, "fits": None}}
    assert plan.sentence(on_cpu) == "Needs about 10.0 GB of memory, most of it in the phase `reward`."


def test_a_plan_is_printed_with_what_its_numbers_rest_on() -> None:
    said = "\n".join(plan.lines(PLAN))
    assert "reward          9.0 GB" in said
    assert "1 per GPU x 2 GPUs x 4 accumulated = 8 per update" in said
    assert "about 90 s an update, 2.5 h in all. An estimate: 3 TFLOP counted, divided by the rate of Card" in said


def test_the_child_that_plans_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("words: {positive: a, negative: b}\nmethod: {name: srpo, sigma_low: 0.9, sigma_high: 0.8}\n")
    with pytest.raises(PalateError, match="sigma_low < sigma_high must hold"):
        plan.ask(path, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": {"name": "latent_reward"}}, "`method.weights` names no file"),
        ({"method": {"name": "latent_reward", "weights": "gone.safetensors"}}, "`method.weights`.*`gone.safetensors`"),
        ({"reward": {"name": "demo", "tuned": "gone.safetensors"}}, "`reward.tuned`"),
        ({"words": {"positive": "a", "negative": "b", "learned": "gone.safetensors"}}, "`words.learned`"),
    ],
)
def test_files_that_another_command_makes_are_missed_before_anything_loads(changes: dict, said: str) -> None:
    content = recipe.parse(CONTENT | changes)
    with pytest.raises(UsageError, match=said):
        plan.preflight(content)
