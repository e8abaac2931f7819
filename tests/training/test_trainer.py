"""The loop around a toy: what it writes, where it stops, and that an interruption leaves no trace in the result."""

from __future__ import annotations

import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from toolkit.errors import Interrupted, TrainingError
from toolkit.recipe import Optimizer, Recipe, parse
from toolkit.run_folder import RunFolder
from training.adapters import Policy
from training.batches import PromptBatches
from training.contracts import OptimizerStep, Pool, Report
from training.randomness import Rng
from training.schedules import FlowSchedule
from training.trainer import Parts, Trainer

UPDATES = 9


def recipe(**training) -> Recipe:
    content = {"updates": UPDATES, "batch_size": 2, "seed": 3, "keep_checkpoints": 2} | training
    return parse(
        {
            "training": content,
            "validation": {"every": 3, "patience": 9, "previews": 0},
            "optimizer": {"learning_rate": 0.01, "warmup_updates": 2},
            "words": {"positive": "3d", "negative": "flat"},
        }
    )


class Pull:
    """A method: the network's answer is pulled to a random target of each sample; `at` is called before update n."""

    def __init__(self, at: dict | None = None) -> None:
        self.at = dict(at or {})
        self.updates: list[int] = []

    def losses(self, policy: Policy, reward, batch, rng):
        self.updates.append(rng.update)
        scale = self.at.pop(rng.update, lambda: 1.0)()
        answer = policy.network(rng.normal("x", (4,)))
        loss = scale * (answer - rng.normal("target", (4,))).square().mean()
        yield Report(loss, {"answer": answer.detach().mean()})


class Twice(Pull):
    """Two optimizer steps per update on the same samples, with a weight from all of them and one from memory."""

    def __init__(self, at: dict | None = None) -> None:
        super().__init__(at)
        self.memory = torch.zeros(())
        self.pooled: list[torch.Tensor] = []

    def losses(self, policy: Policy, reward, batch, rng):
        pool = Pool(rng.uniform("weight"))
        yield pool
        self.pooled.append(pool.everyone)
        weight = pool.everyone.max() + self.memory
        for number in range(2):
            if number:
                yield OptimizerStep()
            for report in super().losses(policy, reward, batch, rng):
                yield replace(report, loss=weight * report.loss)

    def after_update(self, policy: Policy, update: int) -> None:
        mean = torch.stack([p.detach().abs().mean() for p in policy.trainable().values()]).mean()
        self.memory = 0.5 * self.memory + mean

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"memory": self.memory}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.memory = state["memory"]


def toy_policy() -> Policy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 4))
    base = SimpleNamespace(
        network=network, schedule=FlowSchedule(), latent_shape=(4,), lora_layers={"all": ["0"]}, frames_per_second=0,
        to=lambda _: base,
    )  # fmt: skip
    return Policy(base, recipe().lora, seed=1)


def trainer(
    folder: Path, method: Pull, settings: Recipe | None = None, second=None, diversity=lambda update: 0.5
) -> Trainer:
    """second: the score of the second reward by update, rising when not given; diversity likewise, constant."""
    settings, policy = settings or recipe(), toy_policy()
    made: list[Trainer] = []

    def measure(_images) -> dict[str, float]:
        score = made[0].update / 100 if second is None else second(made[0].update)
        return {
            "second": score,
            "diversity": diversity(made[0].update),
            "norm": float(sum(p.detach().square().sum() for p in policy.trainable().values())),
        }

    batches = PromptBatches(
        ["a", "b", "c"], settings.words, lambda prompts: {"text": torch.zeros(len(prompts), 1)},
        batch_size=settings.training.batch_size, accumulation=settings.training.gradient_accumulation,
        seed=settings.training.seed,
    )  # fmt: skip
    parts = Parts(
        policy=policy, method=method, reward=None, batches=batches, prompts=["a"],
        renderer=lambda prompts, seed: torch.rand(1, 3, 8, 8), panel=SimpleNamespace(measure=measure),
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    interrupts = SimpleNamespace(received=None, arm=lambda: None)
    made.append(Trainer(settings, RunFolder(folder), parts, Accelerator(cpu=True), interrupts))
    return made[0]


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return run.parts.policy.adapter_state()


def history(folder: Path) -> list[dict]:
    """Everything the run says of itself but the time."""
    kept = [event for event in RunFolder(folder).events() if event["kind"] in ("update", "check", "verdict")]
    return [{k: v for k, v in event.items() if k not in ("time", "seconds")} for event in kept]


def assert_same_run(one: Trainer, other: Trainer) -> None:
    first, second = weights(one), weights(other)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert history(one.run_folder.path) == history(other.run_folder.path)


@pytest.fixture
def straight(tmp_path: Path) -> Trainer:
    run = trainer(tmp_path / "straight", Pull())
    run.run()
    return run


def fail() -> float:
    raise RuntimeError("killed")


def test_a_run_trains_checks_saves_and_ends(straight: Trainer) -> None:
    events = RunFolder(straight.run_folder.path).events()
    assert [event["update"] for event in events if event["kind"] == "update"] == list(range(1, UPDATES + 1))
    assert [event["update"] for event in events if event["kind"] == "check"] == [0, 3, 6, 9]
    assert [event["update"] for event in events if event["kind"] == "checkpoint"] == [0, 3, 6, 9]
    assert (events[-1]["kind"], events[-1]["best"], events[-1]["status"]) == ("verdict", 9, "done")
    assert straight.checkpoints.updates() == [6, 9]
    assert straight.parts.method.updates == list(range(UPDATES))


def test_what_is_examined_at_a_check_is_logged_with_it_and_moves_nothing(straight: Trainer, tmp_path: Path) -> None:
    run = trainer(tmp_path / "examined", Pull())
    run.parts = replace(run.parts, examine=lambda: {"held_out_accuracy": run.update / 10})
    run.run()
    checks = run.run_folder.events("check")
    assert [check["values"]["held_out_accuracy"] for check in checks] == [0, 0.3, 0.6, 0.9]
    first, second = weights(run), weights(straight)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("killed_before", range(1, UPDATES))
def test_a_killed_run_resumes_to_the_same_bytes_and_the_same_history(
    straight: Trainer, tmp_path: Path, killed_before: int
) -> None:
    folder = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="killed"):
        trainer(folder, Pull({killed_before: fail})).run()
    resumed = trainer(folder, Pull())
    resumed.run()
    assert resumed.parts.method.updates[0] == killed_before - killed_before % 3
    assert_same_run(resumed, straight)


@pytest.mark.parametrize("stopped_after", range(1, UPDATES + 1))
def test_a_run_stopped_by_a_signal_resumes_to_the_same_bytes_and_the_same_history(
    straight: Trainer, tmp_path: Path, stopped_after: int
) -> None:
    """Also where the signal falls between an update and the check that belongs to it."""
    folder = tmp_path / "stopped"
    first = trainer(folder, Pull())

    def ask() -> float:
        first.interrupts.received = signal.SIGTERM
        return 1.0

    first.parts.method.at[stopped_after - 1] = ask
    with pytest.raises(Interrupted) as stopped:
        first.run()
    assert stopped.value.exit_code == 143
    assert first.checkpoints.updates()[-1] == stopped_after
    resumed = trainer(folder, Pull())
    resumed.run()
    assert resumed.parts.method.updates == list(range(stopped_after, UPDATES))
    assert_same_run(resumed, straight)


def test_a_stop_file_ends_the_run_with_a_check(tmp_path: Path) -> None:
    run = trainer(tmp_path / "run", Pull())

    def ask() -> float:
        run.run_folder.stop_file.touch()
        return 1.0

    run.parts.method.at[4] = ask
    verdict = run.run()
    events = run.run_folder.events()
    assert (verdict.best, events[-1]["status"], run.update) == (5, "stopped", 5)
    assert run.checkpoints.updates()[-1] == 5


def test_what_is_asked_for_between_checks_is_there_and_changes_neither_the_lora_nor_the_choice(tmp_path: Path) -> None:
    straight, asked = trainer(tmp_path / "straight", Pull()), trainer(tmp_path / "asked", Pull())
    drawn: list[int] = []
    asked.parts.renderer = lambda prompts, number=0: drawn.append(asked.update) or torch.zeros(1, 3, 8, 8)

    def ask() -> float:
        for wish in asked.run_folder.wishes:
            asked.run_folder.request(wish)
        return 1.0

    asked.parts.method.at[1] = ask
    verdicts = straight.run(), asked.run()
    assert verdicts[0] == verdicts[1]
    assert (tmp_path / "asked/checkpoints/000002").is_dir()  # beyond `keep_checkpoints`
    assert asked.checkpoints.updates()[1:] == straight.checkpoints.updates()
    assert [(e["kind"], e["update"]) for e in asked.run_folder.events() if e["kind"] in ("sample", "save")] == [
        ("sample", 2), ("save", 2),
    ]  # fmt: skip
    assert drawn == [0, 2, 3, 6, 9]
    assert asked.run_folder.take_wishes() == []
    for name in ("adapter", "optimizer"):
        files = [run.checkpoints.folder / f"{UPDATES:06d}/{name}.safetensors" for run in (straight, asked)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_check_is_also_the_answer_to_a_wish(tmp_path: Path) -> None:
    run = trainer(tmp_path / "run", Pull())
    run.parts.method.at[2] = lambda: run.run_folder.request("sample") or 1.0
    run.run()
    assert run.run_folder.events("sample") == []
    assert run.run_folder.take_wishes() == []


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_loss_that_is_not_a_number_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path, wrong) -> None:
    run = trainer(tmp_path / "run", Pull({4: lambda: wrong}))
    with pytest.raises(TrainingError, match=r"diverged at update 5.*Last good checkpoint: 3.*half the learning rate"):
        run.run()
    loaded = run.checkpoints.load()
    assert loaded.update == 3
    assert all(tensor.isfinite().all() for tensor in loaded.adapter.values())


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(tmp_path / "run", Pull())
    save = run.checkpoints.save

    def full(update: int, *rest) -> None:
        if update == 6:
            raise OSError(28, "No space left on device")
        save(update, *rest)

    monkeypatch.setattr(run.checkpoints, "save", full)
    with pytest.raises(TrainingError, match=r"at update 6: No space left on device.*up to update 3.*then resume"):
        run.run()


def test_guards_end_a_run_that_goes_bad_and_name_the_best_checkpoint(tmp_path: Path) -> None:
    scores = {0: 0.0, 3: 0.1, 6: -0.2, 9: -0.3}
    run = trainer(tmp_path / "run", Pull(), recipe(updates=30), second=scores.get)
    verdict = run.run()
    assert (run.update, verdict.best) == (9, 3)
    assert 3 in run.checkpoints.updates()


@pytest.mark.parametrize(("green_until", "kept"), [(3, 3), (0, 0)])
def test_what_an_alarm_falls_back_on_is_still_there_however_long_something_else_was_best(
    tmp_path: Path, green_until: int, kept: int
) -> None:
    """Yellow for four checks, each the best so far, then red."""
    run = trainer(
        tmp_path / "run", Pull(), recipe(updates=30),
        diversity=lambda update: 0.5 if update <= green_until else 0.42 if update <= 15 else 0.1,
    )  # fmt: skip
    verdict = run.run()
    assert (run.update, verdict.best, verdict.alarms) == (21, kept, ("Pictures are becoming alike.",))
    assert run.checkpoints.updates() == [kept, 18, 21]
    assert run.checkpoints.adapter(verdict.best)


@pytest.mark.parametrize("method", [Pull, Twice])
def test_accumulation_is_one_larger_batch(tmp_path: Path, method: type[Pull]) -> None:
    whole = trainer(tmp_path / "whole", method(), recipe(batch_size=4))
    parts = trainer(tmp_path / "parts", method(), recipe(batch_size=2, gradient_accumulation=2))
    whole.run()
    parts.run()
    for name, tensor in weights(whole).items():
        assert torch.allclose(tensor, weights(parts)[name], rtol=1e-4, atol=1e-6)
    norms = [run.run_folder.events("update")[0]["grad_norm"] for run in (whole, parts)]  # AdamW would hide a factor
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_a_run_at_its_own_pace_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """What the running length was comes back from the log; nothing else keeps it."""
    calm = recipe().model_copy(update={"optimizer": Optimizer(learning_rate=0.01, warmup_updates=2, calm_norm=0.2)})
    whole = trainer(tmp_path / "whole", Pull(), calm)
    whole.run()
    assert whole.pace.share < 1
    with pytest.raises(RuntimeError, match="killed"):
        trainer(tmp_path / "killed", Pull({5: fail}), calm).run()
    resumed = trainer(tmp_path / "killed", Pull(), calm)
    resumed.run()
    assert_same_run(resumed, whole)
    plain = trainer(tmp_path / "plain", Pull(), recipe())
    plain.run()
    assert any(not torch.equal(weights(plain)[name], tensor) for name, tensor in weights(whole).items())


def test_a_wild_update_is_skipped(tmp_path: Path) -> None:
    limits = recipe(updates=14).model_copy(update={"optimizer": Optimizer(learning_rate=0.01, skip_above=5.0)})
    seen: list[dict[str, torch.Tensor]] = []
    run = trainer(tmp_path / "run", Pull({n: lambda: seen.append(weights(run)) or 1.0 for n in (10, 11, 13)}), limits)
    run.parts.method.at[12] = lambda: seen.append(weights(run)) or 1000.0
    run.run()
    moved = [any(not torch.equal(a[name], b[name]) for name in a) for a, b in pairwise(seen)]
    assert moved == [True, True, False]


def test_the_learning_rate_warms_up_evenly(straight: Trainer) -> None:
    run, rates = straight, []
    for update in range(4):
        run.update = update
        run._warm_up()
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01])


def test_inner_steps_move_the_weights_between_the_passes_of_one_update(tmp_path: Path) -> None:
    run = trainer(tmp_path / "run", Twice(), recipe(updates=1))
    answers: list[float] = []
    watched = run.parts.method.losses

    def losses(*arguments):
        for event in watched(*arguments):
            answers.extend([event.metrics["answer"].item()] if isinstance(event, Report) else [])
            yield event

    run.parts.method.losses = losses
    run.run()
    assert len(answers) == 2
    assert answers[0] != answers[1]  # the same samples, asked again
    assert {int(state["step"]) for state in run.optimizer.state.values()} == {2}


def test_a_pool_holds_every_sample_of_the_update_in_order(tmp_path: Path) -> None:
    pooled = []
    for name, settings in (("whole", {"batch_size": 4}), ("parts", {"batch_size": 2, "gradient_accumulation": 2})):
        run = trainer(tmp_path / name, Twice(), recipe(updates=1, **settings))
        run.run()
        pooled += run.parts.method.pooled
    assert all(torch.equal(one, Rng(3, 0, (0, 1, 2, 3)).uniform("weight")) for one in pooled)


@pytest.mark.parametrize("killed_before", [1, 3, 4, 8])
def test_what_a_method_remembers_survives_a_kill(tmp_path: Path, killed_before: int) -> None:
    straight = trainer(tmp_path / "straight", Twice())
    straight.run()
    folder = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="killed"):
        trainer(folder, Twice({killed_before: fail})).run()
    resumed = trainer(folder, Twice())
    resumed.run()
    assert_same_run(resumed, straight)
    assert torch.equal(resumed.parts.method.memory, straight.parts.method.memory)
    assert straight.checkpoints.load().method.keys() == {"memory"}


def test_a_method_that_remembers_nothing_leaves_no_file(straight: Trainer) -> None:
    assert not list(straight.checkpoints.folder.rglob("method.safetensors"))
