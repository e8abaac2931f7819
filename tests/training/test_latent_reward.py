"""A reward on noisy latents: its gradient, what it does to a density, its file, and what training teaches it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from toolkit.errors import UsageError
from training import latent_reward, rollout
from training.contracts import PairBatch
from training.interpolants import TO_OUTPUT, Estimate, from_velocity
from training.latent_reward import BINS, Guided, LatentReward, Seen, adjustment, limited, rms
from training.latent_training import LatentTrainer, LatentTraining, bradley_terry, thurstone
from training.randomness import Rng
from training.schedules import DdpmSchedule, FlowSchedule, Level

SHAPE = (2, 8, 8)
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()


class Gaussian:
    """The exact network of x0 ~ N(0, I), whose velocity is (σ - (1 - σ)) / ((1 - σ)² + σ²) x."""

    latent_shape, device, base_name = SHAPE, torch.device("cpu"), "gaussian"

    def __init__(self, schedule=None) -> None:
        self.schedule = schedule or FlowSchedule()
        self.parametrisation = "velocity" if schedule is None else "epsilon"

    def predict(self, x_t: Tensor, level: Level, conditioning, guidance_scale: float = 1.0) -> Estimate:
        alpha, sigma = (part.reshape(-1, 1, 1, 1).to(x_t) for part in (level.alpha, level.sigma))
        power = alpha.square() + sigma.square()
        return Estimate(alpha / power * x_t, sigma / power * x_t)

    def as_output(self, estimate: Estimate, level: Level) -> Tensor:
        return TO_OUTPUT[self.parametrisation](estimate, level.alpha, level.sigma)

    def as_reference(self) -> nullcontext:
        return nullcontext()

    folded = as_reference


class ExactReward:
    """R = log E[exp(a·x0) | x_t] of that world, whose gradient is a (1 - σ) / ((1 - σ)² + σ²)."""

    def __init__(self, direction: Tensor) -> None:
        self.direction = direction

    def look(self, policy, x_t: Tensor, level: Level, conditioning) -> Seen:
        slope = level.alpha / (level.alpha.square() + level.sigma.square())
        gradient = slope.reshape(-1, 1, 1, 1) * self.direction
        return Seen((gradient * x_t).flatten(1).sum(1), gradient, policy.predict(x_t, level, conditioning))


def trusted(channels: int = 2) -> LatentReward:
    reward = LatentReward(channels, width=8, seed=1)
    reward.accuracy.copy_(torch.tensor([1.0, 0.9, 0.8, 0.6, 0.4]))
    return reward


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Oracle D5.2, float64, through the network's own estimate."""
    policy, reward = Gaussian(), trusted().double()
    level = policy.schedule.level(torch.tensor([0.3, 0.7], dtype=torch.float64))
    x_t = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    seen = reward.look(policy, x_t, level, {})
    for number in range(3):
        way = torch.randn(x_t.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2 + number))
        ahead, behind = (reward.score(policy, x_t + h * way, level, {}) for h in (1e-5, -1e-5))
        assert_close((ahead - behind) / 2e-5, (seen.gradient * way).flatten(1).sum(1), rtol=1e-6, atol=1e-8)
    assert_close(seen.score, reward.score(policy, x_t, level, {}))


@given(st.floats(0.05, 0.9), st.floats(0.1, 3.0))
def test_for_flow_the_adjustment_is_a_change_of_velocity(sigma: float, scale: float) -> None:
    """δv = -λ σ / (1 - σ) ∇R, and x_t stays what it is."""
    level = FlowSchedule().level(torch.tensor([sigma], dtype=torch.float64))
    gradient = torch.randn(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    change = adjustment(gradient, level, scale)
    velocity = TO_OUTPUT["velocity"](change, level.alpha, level.sigma)
    assert_close(velocity, -scale * sigma / (1 - sigma) * gradient)
    assert_close((1 - sigma) * change.x0 + sigma * change.noise, torch.zeros_like(gradient), atol=1e-12, rtol=0)


@pytest.mark.parametrize("schedule", [None, DdpmSchedule((1 - BETAS).cumprod(0))])
def test_guidance_by_the_exact_reward_moves_the_mean_by_lambda_a(schedule) -> None:
    """Oracle D5.3: tilting N(0, I) by exp(λ a·x0) gives N(λa, I); the reference measured .699 and .997 at λa = .7.

    A DDPM family's noisiest level still holds alpha of the picture, and the noise that is started from is not tilted.
    """
    policy = Gaussian(schedule)
    expected = 0.7 * (1 - policy.schedule.level(torch.ones(1)).alpha)
    guided = Guided(policy, ExactReward(torch.full(SHAPE, 1.0)), 0.7, sigma_high=0.999, limit=1e6)  # type: ignore[arg-type]
    noise = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(4))
    drawn = rollout.sample(guided, noise, {}, steps=400)  # type: ignore[arg-type]
    plain = rollout.sample(policy, noise, {}, steps=400)  # type: ignore[arg-type]
    assert_close((drawn - plain).mean()[None], expected, atol=0.01, rtol=0)
    assert_close(drawn.std(), plain.std(), atol=0.01, rtol=0)
    assert_close(plain.std(), torch.tensor(1.0), atol=0.03, rtol=0)


def test_guidance_is_silent_in_noise_and_never_stronger_than_its_limit() -> None:
    policy = Gaussian()
    guided = Guided(policy, ExactReward(torch.full(SHAPE, 100.0)), 10.0, sigma_high=0.6, limit=0.3)  # type: ignore[arg-type]
    level = policy.schedule.level(torch.tensor([0.5, 0.7]))
    x_t = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))
    before, after = policy.predict(x_t, level, {}), guided.predict(x_t, level, {})
    change = policy.as_output(after, level) - policy.as_output(before, level)
    assert_close(rms(change)[0], 0.3 * rms(policy.as_output(before, level))[0])
    assert change[1].abs().max() == 0
    assert_close(from_velocity(policy.as_output(after, level), x_t, level.alpha, level.sigma).x0, after.x0)


def test_a_limit_shortens_what_is_too_long_and_nothing_else() -> None:
    change = torch.stack([torch.full(SHAPE, 2.0), torch.full(SHAPE, 0.5), torch.zeros(SHAPE)])
    kept = limited(change, torch.tensor([1.0, 1.0, 0.0]))
    assert_close(rms(kept), torch.tensor([1.0, 0.5, 0.0]))


def test_trust_follows_accuracy_and_never_falls_below_0() -> None:
    trust = trusted().trust(torch.tensor([0.0, 0.1, 0.2, 0.7, 0.9, 1.0]))
    assert_close(trust, torch.tensor([1.0, 1.0, 0.9, 0.2, 0.0, 0.0]))


@given(st.floats(-5, 5), st.floats(0.0, 1.0))
def test_the_losses_are_those_of_their_equations(difference: float, sigma: float) -> None:
    d, s = torch.tensor([difference], dtype=torch.float64), torch.tensor([sigma], dtype=torch.float64)
    p = 0.5 * (1 + math.erf(difference / math.sqrt(2 * (2 * sigma**2 + 0.05)) / math.sqrt(2)))
    assert_close(float(thurstone(d, s)), 1 - math.sqrt(p), atol=1e-9, rtol=1e-6)
    assert_close(float(bradley_terry(d, s)), math.log1p(math.exp(-difference)))


def test_swapping_the_two_sides_flips_the_logit() -> None:
    """Oracle D5.5: σ(d) + σ(-d) = 1 and p(d) + p(-d) = 1."""
    d, sigma = torch.linspace(-3, 3, 13, dtype=torch.float64), torch.full((13,), 0.4, dtype=torch.float64)
    assert_close((-bradley_terry(d, sigma)).exp() + (-bradley_terry(-d, sigma)).exp(), torch.ones_like(d))
    assert_close((1 - thurstone(d, sigma)).square() + (1 - thurstone(-d, sigma)).square(), torch.ones_like(d))


def test_noise_makes_a_mistake_cheaper_under_thurstone_alone() -> None:
    wrong, sigma = torch.full((2,), -1.0), torch.tensor([0.1, 0.9])
    assert thurstone(wrong, sigma)[1] < thurstone(wrong, sigma)[0]
    assert bradley_terry(wrong, sigma)[1] == bradley_terry(wrong, sigma)[0]


def test_bradley_terry_recovers_scores_up_to_a_constant() -> None:
    """Oracle D5.5: the expected loss over all comparisons of four items is least at their true scores."""
    true = torch.tensor([0.0, 0.5, 1.0, -0.7], dtype=torch.float64)
    wins = torch.sigmoid(true[:, None] - true)
    found = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([found], max_iter=200, tolerance_grad=1e-12)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (wins * bradley_terry(found[:, None] - found, true)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert_close(found.detach() - found.detach().mean(), true - true.mean(), atol=1e-5, rtol=0)


def pair_batch(number: int, size: int = 16) -> tuple[PairBatch, Rng]:
    """Chosen pictures are bright on the left, rejected ones on the right, by little against their spread."""
    rng = Rng(5, number, tuple(range(size)))
    side = torch.zeros(SHAPE)
    side[:, :, :4], side[:, :, 4:] = 0.15, -0.15
    ones, texts = torch.ones(size), {"text": torch.zeros(size, 1)}
    one, other = (rng.normal(name, SHAPE) for name in ("one", "other"))
    return PairBatch(["p"] * size, texts, [], one + side, other - side, ones, 0 * ones, torch.zeros(size, 2)), rng


class Batches:
    """`first` counts the pairs that are not seen in training."""

    def __init__(self, first: int) -> None:
        self.first = first

    def micro_batch(self, update: int, micro: int) -> tuple[PairBatch, Rng]:
        return pair_batch(self.first + update)


def train(**settings) -> LatentReward:
    trainer = LatentTrainer(Gaussian(), LatentTraining(width=8, learning_rate=5e-3, **settings), seed=1)
    for number in range(150):
        trainer.step(*pair_batch(number))
    return trainer.finish(Batches(0), Batches(1000), counts=(2, 12))  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["thurstone", "bradley_terry"])
def trained(request: pytest.FixtureRequest) -> LatentReward:
    return train(loss=request.param)


def test_accuracy_is_high_in_pictures_and_near_a_guess_in_noise(trained: LatentReward) -> None:
    """Oracle D5.4. The best possible is Φ(2.4) = .99 at .1 and Φ(.26) = .60 at .9; 384 comparisons each."""
    assert trained.accuracy[0] > 0.85
    assert 0.4 < trained.accuracy[4] < 0.7
    assert trained.accuracy[0] > trained.accuracy[4] + 0.2


def slope(reward: LatentReward, sigma: float) -> Tensor:
    """Mean size of the gradient at a level."""
    policy, (batch, rng) = Gaussian(), pair_batch(2000)
    x_t = (1 - sigma) * batch.chosen + sigma * rng.normal("eps", SHAPE)
    return rms(reward.look(policy, x_t, policy.schedule.level(torch.full((16,), sigma)), {}).gradient).mean()


def test_what_pulls_in_noise_is_little(trained: LatentReward) -> None:
    """Oracle D5.4, second half, as the method takes it: trust times gradient."""
    pulls = [float(trained.trust(torch.tensor([sigma])) * slope(trained, sigma)) for sigma in (0.5, 0.95)]
    assert pulls[1] < 0.3 * pulls[0]


def test_the_gradient_itself_shrinks_most_where_each_side_has_its_own_noise() -> None:
    """A shared noise cancels out of the difference, so that following it costs the reward nothing."""
    own, shared = (train(share_noise=shared) for shared in (False, True))
    assert slope(own, 0.95) < 0.8 * slope(own, 0.5)
    assert slope(own, 0.95) < slope(shared, 0.95)


def test_scores_are_brought_to_0_and_1(trained: LatentReward) -> None:
    policy, scores = Gaussian(), []
    for sigma in BINS:
        batch, rng = pair_batch(0)
        level = policy.schedule.level(torch.full((16,), sigma))
        for side in (batch.chosen, batch.rejected):
            x_t = (1 - sigma) * side + sigma * rng.normal(f"look.{sigma}", SHAPE)
            scores.append(trained.score(policy, x_t, level, {}))
    assert abs(torch.cat(scores).mean()) < 0.2
    assert abs(torch.cat(scores).std() - 1) < 0.2


def test_shared_noise_makes_the_loss_vary_less(trained: LatentReward) -> None:
    """Oracle D5.4, third half: the same pairs under many noises, one for both sides or one each."""
    trainer = LatentTrainer(Gaussian(), LatentTraining(width=8), seed=1)
    trainer.reward = trained
    batch, _ = pair_batch(3000)
    sigma, together, apart = torch.full((16,), 0.5), [], []
    for number in range(12):
        one, other = (Rng(9, number, tuple(range(16))).normal(name, SHAPE) for name in ("a", "b"))
        chosen = trainer.one(batch.chosen, sigma, one, {})
        together.append(chosen - trainer.one(batch.rejected, sigma, one, {}))
        apart.append(chosen - trainer.one(batch.rejected, sigma, other, {}))
    assert torch.stack(together).var(dim=0).mean() < 0.8 * torch.stack(apart).var(dim=0).mean()


@pytest.mark.parametrize("settings", [{}, {"consistency": 0.5}, {"text_contrast": 0.5}])
def test_the_same_seed_trains_the_same_reward(settings: dict) -> None:
    ends = []
    for _ in range(2):
        torch.manual_seed(len(ends))
        trainer = LatentTrainer(Gaussian(), LatentTraining(steps=2, width=8, **settings), seed=1)
        for number in range(2):
            trainer.step(*pair_batch(number))
        ends.append(trainer.reward.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_clip_scores_the_mean_of_its_frames() -> None:
    reward, policy = trusted(), Gaussian()
    level = policy.schedule.level(torch.tensor([0.3]))
    frames = torch.randn(1, 2, 3, 8, 8, generator=torch.Generator().manual_seed(6))
    estimate = Estimate(0.5 * frames, frames)
    each = [reward(frames[:, :, n], Estimate(estimate.x0[:, :, n], estimate.noise[:, :, n]), level) for n in range(3)]
    assert_close(reward(frames, estimate, level), torch.stack(each).mean(dim=0))


def test_a_file_gives_the_same_reward_back(tmp_path: Path) -> None:
    reward, policy, level = trusted(), Gaussian(), FlowSchedule().level(torch.tensor([0.4]))
    reward.save(tmp_path / "a.safetensors", {"base": "gaussian", "accuracy": {"0.1": 1.0}})
    x_t = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(7))
    again = latent_reward.load(str(tmp_path / "a.safetensors"), policy)  # type: ignore[arg-type]
    assert torch.equal(again.score(policy, x_t, level, {}), reward.score(policy, x_t, level, {}))
    assert torch.equal(again.accuracy, reward.accuracy)
    assert latent_reward.about(tmp_path / "a.safetensors")["accuracy"] == {"0.1": 1.0}
    reward.save(tmp_path / "b.safetensors", {"base": "gaussian", "accuracy": {"0.1": 1.0}})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_file_of_another_base_or_kind_is_refused(tmp_path: Path) -> None:
    trusted().save(tmp_path / "a.safetensors", {"base": "gaussian"})
    (tmp_path / "b.safetensors").write_bytes(b"no weights")
    other = SimpleNamespace(base_name="another", device=torch.device("cpu"))
    with pytest.raises(UsageError, match="trained on the base `gaussian`, not on `another`"):
        latent_reward.load(str(tmp_path / "a.safetensors"), other)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is no latent reward"):
        latent_reward.load(str(tmp_path / "b.safetensors"), other)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="palate reward train-latent"):
        latent_reward.load("", other)  # type: ignore[arg-type]
