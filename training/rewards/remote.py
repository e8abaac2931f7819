"""A scorer that runs as a process of its own, beside our libraries instead of among them: docs/remote-scorers.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from toolkit.errors import TrainingError, UsageError, did_you_mean
from training import blueprint
from training.rewards._dual_encoder import check_images
from training.rewards._scorer_client import ScorerClient
from training.rewards._scorer_process import PORT_PLACE, ScorerProcess
from training.scorer_http import PORT
from training.scoring_protocol import Description

LOOPBACK = r"^http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?/?$"
ANYWHERE = r"^https?://[^/@\s]+/?$"  # no name:password@, which a recipe would carry about
PROMPT_PLACE = "{prompt}"
DEFAULT_URL = f"http://127.0.0.1:{PORT}"


class Settings(BaseModel):
    """Where the scorer is, or how to start it, and how to ask it."""

    # The same rules in the schema, so that a recipe is refused before anything loads.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "if": {"properties": {"allow_remote_host": {"const": True}}, "required": ["allow_remote_host"]},
            "then": {"properties": {"url": {"pattern": ANYWHERE}}},
            "else": {"properties": {"url": {"pattern": LOOPBACK}}},
        },
    )

    url: str = Field(
        default=DEFAULT_URL,
        description="Address of a scorer that already runs: http://127.0.0.1:PORT, unless allow_remote_host is on.",
    )
    command: tuple[str, ...] = Field(
        default=(),
        description="Instead of a url: program and arguments of a scorer that runs as long as the run does. It starts "
        "with your rights, so read it in recipes of others; {port} stands for the port, paths are absolute.",
    )
    allow_remote_host: bool = Field(
        default=False, description="Send pictures and prompts to another machine, unencrypted with http."
    )
    startup_timeout: float = Field(default=600, gt=0, description="Seconds until a started command must answer.")
    timeout: float = Field(default=120, gt=0, description="Seconds that one answer may take.")
    retries: int = Field(default=4, ge=0, le=20, description="Further attempts after errors of the line and 5xx.")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Pictures per question; the scorer's limit counts.")
    prompt_template: str = Field(
        default=PROMPT_PLACE, description="What the scorer reads; {prompt} stands for the prompt."
    )
    dimension: str = Field(default="", description="One of the scorer's further scores; empty: the overall one.")

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if not self.allow_remote_host and not re.fullmatch(LOOPBACK, self.url):
            raise ValueError(f"`{self.url}` is not on this machine; allow_remote_host: true sends pictures elsewhere")
        if not re.fullmatch(ANYWHERE, self.url):
            raise ValueError(f"`{self.url}` is not an address like http://host:port, without path and password")
        if self.command and self.url != DEFAULT_URL:
            raise ValueError("give a url or a command, not both")
        if self.command and not any(PORT_PLACE in part for part in self.command):
            raise ValueError(f"the command must say where the port goes, such as --port {PORT_PLACE}")
        if PROMPT_PLACE not in self.prompt_template:
            raise ValueError(f"the prompt_template must say where the prompt goes: {PROMPT_PLACE}")
        return self


class Remote:
    """A scorer in a process of its own: HPSv3, VideoReward, UnifiedReward, Q-Align or yours, over loopback HTTP.

    No gradient. Every text costs a full pass of the scorer; whether texts matter is the scorer's to say.
    """

    Settings = Settings
    differentiable: ClassVar[bool] = False
    gives: ClassVar[frozenset[str]] = frozenset({"text_conditioned"})
    held_out: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        """Start the command, if there is one, and ask the scorer what it is; a plan does neither.

        Raises TrainingError when it does not answer as it should, UsageError for a dimension that it does not have.
        """
        self._settings = settings
        self._texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._is_planned = blueprint.is_weightless()
        if self._is_planned:  # what another process takes is its own
            return
        self._process = ScorerProcess(settings.command) if settings.command else None
        url = self._process.url if self._process else settings.url
        self._client = ScorerClient(url, timeout=settings.timeout, retries=settings.retries, process=self._process)
        if self._process:
            self._client.wait_until_ready(settings.startup_timeout)
        self.description: Description = self._client.describe()
        if settings.dimension and settings.dimension not in self.description.dimensions:
            raise UsageError(
                f"{self.description.name} has no dimension `{settings.dimension}`.",
                action=did_you_mean(settings.dimension, self.description.dimensions),
            )

    def close(self) -> None:
        """Hang up, and end the process that was started. Dropping the object or ending the program does the same."""
        if self._is_planned:
            return
        self._client.close()
        if self._process:
            self._process.close()

    def target(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """[B][T] texts → their numbers in this object's list, [B, T].

        Raises TrainingError for different texts of one picture when the scorer reads none.
        """
        if not self._is_planned and not self.description.needs_text and any(len(set(row)) > 1 for row in texts):
            raise TrainingError(
                f"{self.description.name} ignores text, so it cannot weigh words against each other.",
                action="Choose a scorer that reads the prompt, or score plain prompts.",
            )
        return torch.tensor([[self._number(text) for text in row] for row in texts])

    @torch.no_grad()
    def score(self, images: Tensor, target: Tensor) -> Tensor:
        """[B, 3, H, W] pictures or [B, F, 3, H, W] videos in [0, 1] → float32 [B, T] on their device.

        Raises ValueError for what is no picture, TrainingError when the scorer fails.
        """
        check_images(images.flatten(0, 1) if images.ndim == 5 else images)
        if self._is_planned:
            return torch.zeros(target.shape, device=images.device)
        if images.ndim == 5 and not self.description.accepts_video:
            raise TrainingError(
                f"{self.description.name} scores single pictures, not videos.", action="Choose a scorer of videos."
            )
        if not self.description.needs_text:
            return self._column(images, [""] * len(images)).repeat(1, target.shape[1])
        columns = [self._column(images, [self._asked(n) for n in column]) for column in target.T.tolist()]
        return torch.cat(columns, dim=1)

    def _column(self, images: Tensor, prompts: list[str]) -> Tensor:
        """[B, 1]: one pass over all pictures, in questions as large as both sides allow."""
        size = min(self._settings.batch_size, self.description.max_batch)
        scores: list[float] = []
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            scores += self._client.score(images[part], prompts[part], self._settings.dimension)
        return torch.tensor(scores, dtype=torch.float32, device=images.device)[:, None]

    def _number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return self._numbers[text]

    def _asked(self, number: Any) -> str:
        return self._settings.prompt_template.replace(PROMPT_PLACE, self._texts[number])
