"""A world for pencil and paper: a network that is one tensor, pictures that are latents, linear rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from toolkit.words import WordPair
from training.contracts import PromptBatch
from training.interpolants import FROM_OUTPUT, TO_OUTPUT, Estimate
from training.randomness import Rng, key
from training.schedules import FlowSchedule, Level

SHAPE = (3, 2, 2)


class LinearPolicy:
    """A network that answers `output` whatever it is asked; decode shows the latents as they are. float64."""

    def __init__(self, output: Tensor | None = None, parametrisation: str = "velocity", schedule=None) -> None:
        generator = torch.Generator().manual_seed(7)
        first = torch.randn(SHAPE, generator=generator) if output is None else output
        self.output = nn.Parameter(first.double())
        self.parametrisation = parametrisation
        self.schedule = schedule or FlowSchedule()
        self.latent_shape = tuple(first.shape)
        self.device = torch.device("cpu")
        self.calls: list[SimpleNamespace] = []  # those that carry gradient
        self.rollout: list[float] = []  # guidance of those that do not

    def network(self, x_t: Tensor, level: Level) -> Tensor:
        return self.output.expand_as(x_t)

    def predict(self, x_t: Tensor, level: Level, conditioning, guidance_scale: float = 1.0) -> Estimate:
        if torch.is_grad_enabled():
            self.calls.append(SimpleNamespace(x_t=x_t, level=level, guidance_scale=guidance_scale))
        else:
            self.rollout.append(guidance_scale)
        output = self.network(x_t, level)
        return FROM_OUTPUT[self.parametrisation](output, x_t, level.alpha, level.sigma)

    def as_output(self, estimate: Estimate, level: Level) -> Tensor:
        return TO_OUTPUT[self.parametrisation](estimate, level.alpha, level.sigma)

    def decode(self, latents: Tensor) -> Tensor:
        return latents

    def as_reference(self) -> nullcontext:
        return nullcontext()

    def folded(self) -> nullcontext:
        return nullcontext()

    def adapter_state(self) -> dict[str, Tensor]:
        return {"output": self.output.detach().clone()}

    @contextmanager
    def as_version(self, adapter: dict[str, Tensor]) -> Iterator[None]:
        ours, self.output.data = self.output.data, adapter["output"]
        with torch.no_grad():
            yield
        self.output.data = ours


class BendingPolicy(LinearPolicy):
    """A network that looks at its input, so that its paths bend and its gradients depend on where it is asked."""

    def network(self, x_t: Tensor, level: Level) -> Tensor:
        sigma = level.sigma.reshape(-1, 1, 1, 1)
        return torch.tanh(x_t * self.output + sigma) + sigma * self.output


class PolicyWithReference(BendingPolicy):
    """Its base answers half of what it does."""

    @contextmanager
    def as_reference(self):
        self.output.data /= 2
        yield
        self.output.data *= 2


class LinearReward:
    """<picture, direction of the text>: the gradient to a picture is the text's direction. float64."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.seen: list[Tensor] = []
        self.texts: list[list[list[str]]] = []

    def direction(self, text: str) -> Tensor:
        generator = torch.Generator().manual_seed(key("direction", text))
        return self.scale * torch.randn(SHAPE, generator=generator, dtype=torch.float64)

    def target(self, texts) -> Tensor:
        self.texts.append([list(row) for row in texts])
        return torch.stack([torch.stack([self.direction(text) for text in row]) for row in texts])

    def score(self, images: Tensor, target: Tensor) -> Tensor:
        self.seen.append(images)
        return torch.einsum("bchw,btchw->bt", images, target)


@pytest.fixture
def folder_of_pairs() -> Callable[[Path, Iterable[int]], str]:
    """Writes pairs of two plain colours, the bright one chosen, each with a prompt of its own."""

    def write(root: Path, numbers: Iterable[int]) -> str:
        for side, level in (("chosen", 200), ("rejected", 60)):
            (root / side).mkdir(parents=True)
            for number in numbers:
                Image.new("RGB", (64, 64), (level, 9 * number, 0)).save(root / side / f"{number:02d}.png")
                (root / side / f"{number:02d}.txt").write_text(f"thing number {number}")
        return str(root)

    return write


@pytest.fixture
def linear_policy() -> type[LinearPolicy]:
    return LinearPolicy


@pytest.fixture
def bending_policy() -> type[BendingPolicy]:
    return BendingPolicy


@pytest.fixture
def policy_with_reference() -> type[BendingPolicy]:
    return PolicyWithReference


@pytest.fixture
def linear_reward() -> type[LinearReward]:
    return LinearReward


@pytest.fixture
def batch() -> PromptBatch:
    """Two prompts, each under its own pair."""
    words = [WordPair(positive="3d", negative="flat"), WordPair(positive="sharp", negative="blurry")]
    return PromptBatch(["a cat", "a dog"], {"text": torch.zeros(2, 1)}, words)


@pytest.fixture
def rng() -> Rng:
    return Rng(seed=3, update=5, indices=(0, 1))


@pytest.fixture
def one_prompt() -> PromptBatch:
    return PromptBatch(["a cat"], {"text": torch.zeros(1, 1)}, [WordPair(positive="3d", negative="flat")])


@pytest.fixture
def one_rng() -> Rng:
    return Rng(seed=3, update=5, indices=(0,))
