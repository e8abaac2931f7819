"""The sections of a recipe, with their limits and defaults; command line and forms are generated from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from toolkit import pairs


def _number(value: Any) -> Any:
    """YAML 1.1 takes `1e-4` for text, since it has no dot; everybody else takes it for a number."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        return float(value)
    return value


class Part(BaseModel):
    """Frozen, and deaf to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Section(Part):
    """A choice from a table with its own settings: `srpo`, or `{name: srpo, rollout_steps: 25}`."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "settings" not in value:
            settings = {key: _number(setting) for key, setting in value.items() if key != "name"}
            return {"name": value.get("name", ""), "settings": settings}
        return value

    @model_serializer
    def _to_flat(self) -> dict[str, Any]:
        return {"name": self.name, **self.settings}


class Prompts(Part):
    """Three lists that share nothing: one trains, one selects, one is only for the report."""

    train: str = Field(default="demo:train", description="Prompts to train on: a .txt or .jsonl file.")
    validation: str = Field(default="demo:validation", description="Prompts that choose the best checkpoint.")
    test: str = Field(default="demo:test", description="Prompts for the final report; nothing else may see them.")


class Data(Part):
    """Pictures to learn from, for methods that draw none themselves. At most one of them; docs/data.md says how."""

    pairs: str = Field(default="", description="Preference pairs: a folder, .jsonl, .json or .parquet file.")
    photos: str = Field(default="", description="Pictures with captions: a folder or a .jsonl file.")
    likes: str = Field(default="", description="Pictures liked or disliked one by one: a folder or a .jsonl file.")
    prompt_dropout: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of samples trained with the empty prompt, the other end of guidance: 0.1 is usual; 0: none.",
    )

    held_out: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description="Share of the pairs' prompts only measured, not trained; empty: 0.1 from 50 on, at most 32.",
    )

    @model_validator(mode="after")
    def _one(self) -> Data:
        if len(self.sources) > 1:
            raise ValueError("a run learns from `pairs`, `photos` or `likes`, not from several of them")
        if self.prompt_dropout and not self.sources:
            raise ValueError("`prompt_dropout` is for `pairs`, `photos` or `likes`, and there are none")
        if self.held_out and not self.pairs:
            raise ValueError("`held_out` keeps back some of the `pairs`, and there are none")
        return self

    @property
    def sources(self) -> dict[pairs.Kind, str]:
        """What is given, and where it lies; at most one."""
        return {kind: source for kind in pairs.KINDS if (source := getattr(self, kind))}

    @property
    def kind(self) -> pairs.Kind | None:
        """Which of them is given."""
        return next(iter(self.sources), None)

    @property
    def source(self) -> str:
        """Where it lies."""
        return next(iter(self.sources.values()), "")

    def moved(self, place: Callable[[str], str]) -> Data:
        """The same with its source where `place` says."""
        return self.model_copy(update={kind: place(source) for kind, source in self.sources.items()})


class Lora(Part):
    """The adapter. alpha always equals rank, so that every program plays the file at the same strength."""

    rank: int = Field(default=16, ge=1, le=512, description="Size of the adapter. 8 to 32 suits alignment.")
    layers: Literal["attention", "all"] = Field(default="all", description="Which layers are trained.")
    start: str = Field(default="", description="A LoRA file the base plays with from the start; empty: none.")
    start_strength: float = Field(default=1.0, ge=-4, le=4, description="Strength of the LoRA in `start`.")
    start_as: Literal["merged", "frozen"] = Field(
        default="merged",
        description="merged: added into the base's weights; frozen: kept beside them, for quantised bases.",
    )
    file_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        default="bfloat16", description="Precision of the LoRA file."
    )


class Optimizer(Part):
    """AdamW with warm-up and clipping."""

    learning_rate: float = Field(
        default=2e-4, gt=0, le=1, description="Full-size bases need 1e-6 to 1e-4, the demo 2e-4."
    )
    weight_decay: float = Field(default=1e-4, ge=0, le=1, description="Pull of every weight towards zero.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Memory of the gradient's mean.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Memory of the gradient's square.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Longer gradients are shortened to this length.")
    warmup_updates: int = Field(default=5, ge=0, description="Updates until the full learning rate is reached.")
    calm_norm: float | None = Field(
        default=None,
        gt=0,
        description="The learning rate falls in proportion while gradients run longer than this; empty: never.",
    )
    skip_above: float | None = Field(
        default=None,
        gt=1,
        description="Updates with a gradient this many times its running length are skipped; 5 is usual, empty: none.",
    )


class Budget(Part):
    """How long, how wide and with which randomness."""

    updates: int = Field(default=100, ge=1, le=1_000_000, description="Optimizer updates.")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Samples per device and micro-batch.")
    gradient_accumulation: int = Field(default=1, ge=1, le=4096, description="Micro-batches per update.")
    seed: int = Field(default=42, ge=0, lt=2**31, description="The same seed gives the same LoRA.")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="Precision of the network calls.")
    keep_checkpoints: int = Field(default=3, ge=1, description="Newest checkpoints kept beside the best one.")


class Validation(Part):
    """What chooses the best checkpoint: a second scorer, diversity and picture statistics; never the report's judge."""

    scorer: Section = Field(
        default=Section(name="demo_second"), description="Scores validation pictures; not the trained reward."
    )
    every: int = Field(default=10, ge=1, description="Updates between checks; a checkpoint is saved with each.")
    patience: int = Field(
        default=3, ge=1, description="Checks in a row without a better healthy score before the run stops."
    )
    steps: int = Field(default=12, ge=1, le=1000, description="Sampling steps of validation and preview pictures.")
    guidance_scale: float = Field(default=2.5, ge=0, le=50, description="Guidance of validation and preview pictures.")
    seeds: int = Field(default=1, ge=1, le=64, description="Pictures per validation prompt.")
    batch_size: int = Field(
        default=16, ge=1, le=4096, description="Pictures rendered at once, clips always one by one: only for memory."
    )
    previews: int = Field(default=6, ge=0, le=64, description="Validation prompts whose pictures are kept.")
