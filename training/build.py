"""From a recipe to the parts of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import Accelerator

from toolkit import prompts
from toolkit.recipe import Recipe
from training import tables
from training.adapters import Policy
from training.batches import ConditioningCache, PromptBatches, Sharding
from training.trainer import Parts
from training.validation import VALIDATION, Panel, Renderer


@dataclass(frozen=True)
class Stage:
    """A base with its LoRA and a text cache: all that rendering needs."""

    policy: Policy
    encode: ConditioningCache

    def renderer(self, recipe: Recipe, purpose: str, *, steps: int | None = None) -> Renderer:
        """Renders with the recipe's validation settings; `purpose` separates the seeds."""
        settings = recipe.validation
        return Renderer(
            self.policy,
            self.encode,
            steps=steps or settings.steps,
            guidance_scale=settings.guidance_scale,
            shift=self.policy.base.shift,
            seed=recipe.training.seed,
            purpose=purpose,
        )


def stage(recipe: Recipe, device: torch.device) -> Stage:
    """The recipe's base with a fresh LoRA on `device`."""
    dtype = getattr(torch, recipe.training.dtype)
    policy = Policy(tables.base(recipe.base), recipe.lora, seed=recipe.training.seed, device=device, dtype=dtype)
    return Stage(policy, ConditioningCache(policy.base.encode))


def parts(recipe: Recipe, accelerator: Accelerator) -> Parts:
    """Everything a run is made of, on this process's device."""
    built = stage(recipe, accelerator.device)
    reward = _on_device(tables.reward(recipe.reward), accelerator.device)
    second = _on_device(tables.reward(recipe.validation.scorer), accelerator.device)
    validation = prompts.read(recipe.prompts.validation)
    batches = PromptBatches(
        [prompt.text for prompt in prompts.read(recipe.prompts.train)],
        recipe.words,
        built.encode,
        batch_size=recipe.training.batch_size,
        accumulation=recipe.training.gradient_accumulation,
        seed=recipe.training.seed,
        sharding=Sharding(accelerator.process_index, accelerator.num_processes),
        device=accelerator.device,
    )
    return Parts(
        policy=built.policy,
        method=tables.method(recipe.method),
        reward=reward,
        batches=batches,
        renderer=built.renderer(recipe, VALIDATION),
        panel=Panel(validation, recipe.words, {"reward": reward, "second": second}, accelerator.device),
        prompts=[prompt.text for prompt in validation],
    )


def _on_device(reward, device: torch.device):
    return reward.to(device) if isinstance(reward, torch.nn.Module) else reward
