"""The rehearsal on fake tensors beside the same phases run for real, counted by the same counter."""

from __future__ import annotations

import gc
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import folders
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from toolkit import recipe
from toolkit.recipe import Recipe
from training import blueprint, tables
from training.bases import BASES
from training.memory import LiveBytes
from training.observed import AVERAGE, Repeats
from training.rehearsal import LOAD, PHASES, Findings, Rehearsal, modules_of

WORLDS = ("demo", "flux", "sd15")
MASKED = ("qwen_image", "z_image")
SEED, SHAPES, TOLERANCE = 2026, 10, 0.15
WORDS = {"positive": "3d render", "negative": "line art"}


def shapes(world: str) -> list[dict[str, Any]]:
    """Ranks, batches, methods, and where the base has them sizes and checkpointing."""
    draw = random.Random(f"{SEED}/{world}")
    drawn = []
    for _ in range(SHAPES):
        shape: dict[str, Any] = {"lora.rank": draw.choice([1, 4, 16, 64]), "training.batch_size": draw.randint(1, 4)}
        shape["method.branches"] = draw.choice(["batched", "sequential"])
        if world != "demo":
            shape["base.width"], shape["base.height"] = draw.choice([32, 64, 96]), draw.choice([32, 64])
            shape["base.gradient_checkpointing"] = draw.random() < 0.5
        drawn.append(shape)
    return drawn


def recipe_of(world: str, shape: dict[str, Any], folder: Path) -> Recipe:
    base: Any = world if world == "demo" else {"name": world, **folders.section(world).settings}
    lists = {role: folder / f"{role}.txt" for role in ("train", "validation")}
    for role, path in lists.items():
        path.write_text(f"a red cat of {role}\nthe blue house of {role}\n", encoding="utf-8")
    content = {
        "base": base, "method": {"name": "srpo", "rollout_steps": 2}, "words": WORDS, "validation": {"steps": 2},
        "prompts": {role: str(path) for role, path in lists.items()},
    }  # fmt: skip
    return recipe.parse(content, shape)


def predicted_and_measured(content: Recipe) -> tuple[Findings, Findings]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with blueprint.weightless():
            predicted = Rehearsal(content).run()
        return predicted, Rehearsal(content).run()


def hold(predicted: Findings, measured: Findings) -> None:
    """Every phase's peak, and what it adds to the weights, within the tolerance; every operation counted."""
    assert list(predicted.peaks) == [phase for phase in PHASES if phase in measured.peaks]
    assert set(measured.peaks) == set(PHASES)
    for phase, peak in measured.peaks.items():
        assert predicted.peaks[phase] == pytest.approx(peak, rel=TOLERANCE), phase
    rise, seen = (found.peak - found.peaks[LOAD] for found in (predicted, measured))
    assert rise == pytest.approx(seen, rel=TOLERANCE)
    assert predicted.update_flops == measured.update_flops
    assert predicted.check_flops == measured.check_flops


@pytest.mark.parametrize("world", WORLDS)
def test_the_rehearsal_predicts_a_real_run(world: str, tmp_path: Path) -> None:
    hold(*predicted_and_measured(recipe_of(world, shapes(world)[0], tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, SHAPES))
@pytest.mark.parametrize("world", WORLDS)
def test_the_rehearsal_predicts_real_runs_of_all_shapes(world: str, number: int, tmp_path: Path) -> None:
    hold(*predicted_and_measured(recipe_of(world, shapes(world)[number], tmp_path)))


@pytest.mark.parametrize("world", ["demo", "sd15"])
@pytest.mark.parametrize(("name", "kind"), [("dpo", "pairs"), ("dpo_cm", "pairs"), ("kto", "likes"), ("sft", "photos")])
def test_the_rehearsal_predicts_runs_that_learn_from_pictures(world: str, name: str, kind: str, tmp_path: Path) -> None:
    """Without a picture at hand: those of a placeholder weigh the same."""
    content = recipe_of(world, {"method": name, "data": {kind: str(tmp_path)}, "training.batch_size": 2}, tmp_path)
    predicted, measured = predicted_and_measured(content)
    for phase, peak in measured.peaks.items():
        assert predicted.peaks[phase] == pytest.approx(peak, rel=TOLERANCE), phase
    assert predicted.update_flops == measured.update_flops > 0


@pytest.mark.slow
@pytest.mark.parametrize("world", sorted({*BASES} - {*WORLDS} - {*MASKED}))
def test_the_rehearsal_predicts_a_real_run_of_every_family(world: str, tmp_path: Path) -> None:
    hold(*predicted_and_measured(recipe_of(world, {"training.batch_size": 1}, tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("world", MASKED)
def test_where_only_a_texts_own_tokens_are_read_the_longest_text_is_planned_for(world: str, tmp_path: Path) -> None:
    predicted, measured = predicted_and_measured(recipe_of(world, {"training.batch_size": 1}, tmp_path))
    assert predicted.update_flops > measured.update_flops
    for phase, peak in measured.peaks.items():
        assert predicted.peaks[phase] > 0.99 * peak, phase
    assert predicted.peak == pytest.approx(measured.peak, rel=TOLERANCE)


def test_one_rehearsal_tells_both_with_and_without_checkpointing(tmp_path: Path) -> None:
    shape = {"base.width": 128, "base.height": 128, "training.batch_size": 1}
    found = {}
    with blueprint.weightless():
        for checkpointing in (False, True):
            changed = {**shape, "base.gradient_checkpointing": checkpointing}
            rehearsal = Rehearsal(recipe_of("flux", changed, tmp_path))
            found[checkpointing] = rehearsal.run()
            if not checkpointing:
                also = rehearsal.checkpointed()
    assert also.peaks == pytest.approx(found[True].peaks, rel=0.01)
    assert also.peaks["denoise"] < 0.97 * found[False].peaks["denoise"]
    assert also.update_flops == found[True].update_flops > found[False].update_flops


def test_fewer_pictures_at_once_take_less_memory_and_as_many_operations(tmp_path: Path) -> None:
    found, large = [], {"base.width": 256, "base.height": 256}
    for size in (1, 2):
        with blueprint.weightless():
            found.append(Rehearsal(recipe_of("sd15", {**large, "validation.batch_size": size}, tmp_path)).run())
    one, both = found
    assert one.peaks["validation"] < 0.98 * both.peaks["validation"]
    assert one.check_flops == pytest.approx(both.check_flops, rel=0.01)


def test_gradients_are_averaged_only_among_several_gpus(tmp_path: Path) -> None:
    with blueprint.weightless():
        found = Rehearsal(recipe_of("flux", {}, tmp_path)).run()
    assert found.on(2).peaks == found.peaks
    assert set(found.peaks) - set(found.on(1).peaks) == {AVERAGE}
    assert found.peaks[AVERAGE] - found.peaks["load"] >= 3 * found.lora_bytes  # gradients, their row, its mean


def test_what_repeats_is_run_once_and_counted_as_often_as_it_happens() -> None:
    counter, ran = LiveBytes(), []

    def call() -> tuple[torch.Tensor, ...]:
        ran.append(1)
        return (torch.ones(64, 64) @ torch.ones(64, 64),)

    with blueprint.weightless(), blueprint.mode(), counter:
        repeats = Repeats(counter)
        results = [repeats("product", call) for _ in range(3)]
        assert [r[0].shape for r in results] == [(64, 64)] * 3
        repeats("another", call)
    assert (len(ran), counter.flops) == (2, 4 * 2 * 64**3)
    with counter:  # with numbers, every call gives its own
        assert torch.equal(Repeats(counter)("product", call)[0], torch.full((64, 64), 64.0))


def test_masks_keep_everything_and_known_lengths_are_known() -> None:
    known = torch.tensor([[True, True, False]])
    with blueprint.weightless(), blueprint.mode(), blueprint.Numberless():
        rows = torch.ones(1, 3, 5)
        assert rows[torch.ones(1, 3) > 0].shape == (3, 5)
        assert rows[:, (torch.ones(1, 3) > 0).any(dim=0)].shape == (1, 3, 5)
        assert rows[known].shape == (2, 5)
        assert known.sum(dim=1).tolist() == [2]
        assert float(torch.ones(1)[0]) == 1.0
        assert not (torch.ones(1) > 0)


def test_checkpointing_and_quantised_weights_show_where_they_act(tmp_path: Path) -> None:
    """nf4: 4.5 bits a weight, in the linear layers."""
    found = {}
    for name, change in {
        "plain": {"base.gradient_checkpointing": False},
        "checkpointed": {"base.gradient_checkpointing": True},
        "nf4": {"base.gradient_checkpointing": False, "base.quantisation": "nf4"},
    }.items():
        content = recipe_of(
            "flux", {"base.width": 128, "base.height": 128, "training.batch_size": 1, **change}, tmp_path
        )
        with blueprint.weightless():
            found[name] = Rehearsal(content).run()
    assert found["checkpointed"].peaks["denoise"] < 0.97 * found["plain"].peaks["denoise"]
    assert found["checkpointed"].update_flops > found["plain"].update_flops
    assert found["nf4"].network_bytes < 0.25 * found["plain"].network_bytes
    assert found["nf4"].published_bytes == found["plain"].published_bytes


def test_live_bytes_agree_with_torchs_own_tracker() -> None:
    """On the one kind of run that MemTracker follows: each network called once."""
    peaks = []
    for tracker in (LiveBytes(), MemTracker()):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 8))
        x = torch.randn(32, 64)
        if isinstance(tracker, LiveBytes):
            tracker.hold([network])
            tracker._count(x)
        else:
            tracker.track_external(network, x)
        with tracker:
            network(x).square().mean().backward()
        if isinstance(tracker, LiveBytes):
            peaks.append(tracker.peak)
        else:
            peaks.append(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])
    assert peaks[0] == pytest.approx(peaks[1], rel=0.02)


def test_text_encoders_that_are_let_go_of_are_gone_at_once() -> None:
    """A cycle of references would keep them until the garbage collector comes, and every later peak too high."""
    gc.disable()
    try:
        with blueprint.weightless():
            base, counter = tables.base(folders.section("flux")), LiveBytes()
            for module in modules_of(base):
                blueprint.hollow(module)
            base.to(torch.device("cpu"))
            with blueprint.mode(), blueprint.Numberless(), counter:
                counter.hold(modules_of(base.text))
                base.encode(["a red cat"])
                assert counter.live > 0
                base.release_text()
            assert counter.live == 0
    finally:
        gc.enable()
