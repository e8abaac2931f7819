"""`python -m training train RUN_FOLDER`: one run folder to its LoRA."""

from __future__ import annotations

import contextlib
import json
import platform
from pathlib import Path

import torch
from accelerate import Accelerator

import toolkit
from toolkit import atomic, lora_file
from toolkit.errors import PalateError, TrainingError, UsageError
from toolkit.loras.convert import for_comfyui
from toolkit.plan import preflight
from toolkit.recipe import Recipe
from toolkit.run_folder import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, RunFolder
from training import build
from training.adapters import Policy
from training.interrupts import Interrupts
from training.plan import refuse_what_does_not_fit
from training.trainer import Trainer

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "open_clip_torch", "safetensors")


def train(folder: Path) -> str:
    """Train a run folder to its end and write its LoRA. Returns the verdict's sentence.

    Raises PalateError (after saying so in state.json) when the run could not end well.
    """
    interrupts = Interrupts()
    one_installation()
    run = RunFolder(folder)
    recipe = run.recipe()
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), log_with=list(recipe.trackers) or None, project_dir=run.path / "trackers"
    )
    try:
        return _train(run, recipe, accelerator, interrupts)
    except KeyboardInterrupt:
        stopped = interrupts.error()
        _say_the_end(run, accelerator, stopped)
        raise stopped from None
    except PalateError as error:
        _say_the_end(run, accelerator, error)
        raise
    except OSError as problem:
        if problem.errno is None:  # a library's own words, not the system's refusal
            raise
        error = TrainingError(
            f"The run folder could not be written or read: {problem.strerror}.",
            cause="The checkpoints in it are intact.",
            action="Free some space or fix the folder's rights, then resume.",
        )
        _say_the_end(run, accelerator, error)
        raise error from problem


def _say_the_end(run: RunFolder, accelerator: Accelerator, error: PalateError) -> None:
    """Into state.json, if it can still be written; on a full disk the log and the exit code remain."""
    status = INTERRUPTED if error.exit_code > 128 else FAILED
    if accelerator.is_main_process:
        with contextlib.suppress(OSError):
            run.write_state(status, message=str(error), exit_code=error.exit_code, pid=0)


def one_installation() -> None:
    """Raise UsageError when a foreign `training` or `toolkit` folder shadows one of ours."""
    if Path(__file__).resolve().parents[1] != Path(toolkit.__file__).resolve().parents[1]:
        raise UsageError(
            "`toolkit` and `training` come from different places.",
            cause="A folder of that name in the working directory or on PYTHONPATH hides Palate's.",
            action="Start from another folder, or rename yours.",
        )


def _train(run: RunFolder, recipe: Recipe, accelerator: Accelerator, interrupts: Interrupts) -> str:
    torch.use_deterministic_algorithms(True, warn_only=True)
    if accelerator.is_main_process:
        run.claim(updates=recipe.training.updates)
        preflight(recipe, run.path)
        refuse_what_does_not_fit(recipe, accelerator.device, run.path, accelerator.num_processes)
        atomic.write_json(run.environment_file, environment(accelerator))
        _say(run, f"Loading the base `{recipe.base.name}` and the reward `{recipe.reward.name}`.")
    parts = build.parts(recipe, accelerator)
    if accelerator.is_main_process:
        _say(run, f"Training {recipe.training.updates} updates with `{recipe.method.name}`.")
    if recipe.trackers:
        accelerator.init_trackers(recipe.name)
    trainer = Trainer(recipe, run, parts, accelerator, interrupts)
    verdict = trainer.run()
    if accelerator.is_main_process:
        save_lora(run, recipe, parts.policy, trainer.checkpoints.adapter(verdict.best), verdict.best, parts.reward)
        asked = run.stop_file.exists()
        run.write_state(STOPPED if asked else DONE, update=trainer.update, message=verdict.sentence, pid=0)
        print(verdict.sentence, flush=True)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return verdict.sentence


def save_lora(run: RunFolder, recipe: Recipe, policy: Policy, adapter: dict, update: int, reward: object) -> Path:
    """Write the chosen checkpoint as the run's LoRA, for diffusers and where it differs for ComfyUI too.

    Raises PalateError when one of its names is no layer of the base.
    """
    facts = policy.base.lora_facts
    description = lora_file.Description(
        title=recipe.name,
        component=facts.component,
        architecture=facts.architecture,
        base_model_version=facts.base_model_version,
        resolution=facts.resolution,
        rank=recipe.lora.rank,
        target_modules=tuple(policy.base.lora_layers[recipe.lora.layers]),
        learning_rate=recipe.optimizer.learning_rate,
        updates=recipe.training.updates,
        seed=recipe.training.seed,
        header=lora_file.AlignedLoraHeader(
            method=recipe.method.name,
            family=facts.family,
            base=facts.base_name,
            words=[{"positive": pair.positive, "negative": pair.negative} for pair in recipe.words],
            reward=recipe.reward.name,
            reward_hash=weights_hash(reward),
            recipe_hash=recipe.digest(),
            update=update,
        ),
    )
    names = [f"{facts.component}.{name}" for name in adapter]
    if odd := lora_file.unmatched(names, dict(policy.network.named_modules()), facts.component):
        raise PalateError(f"The LoRA names `{odd[0]}`, which the base does not have.", action="Report this as a bug.")
    path = run.lora / f"{recipe.name}.safetensors"
    lora_file.save(path, adapter, description, dtype=recipe.lora.file_dtype)
    for_comfyui(path)
    return path


def weights_hash(reward: object) -> str:
    """The first 16 hex digits of a scorer's weights, empty for one without."""
    if not isinstance(reward, torch.nn.Module):
        return ""
    return lora_file.tensors_hash({name: t.cpu() for name, t in reward.state_dict().items() if t.ndim})[:16]


def environment(accelerator: Accelerator) -> dict[str, object]:
    """Versions and device of a run: what a report of a problem needs, and nothing private."""
    from importlib.metadata import version

    return {
        "palate": toolkit.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(accelerator.device),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _say(run: RunFolder, message: str) -> None:
    print(json.dumps({"phase": message}, ensure_ascii=False), flush=True)
    run.write_state(RUNNING, message=message)
