"""SRPO against pencil and paper: a constant network and a linear reward make every gradient a closed formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from toolkit.words import WordPair
from training.contracts import PhotoBatch, PromptBatch, Report
from training.methods.srpo import Srpo
from training.randomness import Rng

PLAIN = {"augmentation": 0.0, "margin": None, "rollout_steps": 3, "shift": 1.0, "guidance_scale": 1.0}
NO_DISCOUNT = {"positive_early": 0.0, "positive_late": 0.0, "inversion_early": 0.0, "inversion_late": 0.0}


def srpo(**changes) -> Srpo:
    return Srpo(**PLAIN | changes)


def run(method: Srpo, policy, reward, batch: PromptBatch, rng: Rng) -> tuple[Tensor, list[Report]]:
    """The gradient of one update with respect to the network's output, and the reports."""
    policy.output.grad = None
    reports = []
    for report in method.losses(policy, reward, batch, rng):
        report.loss.backward()
        reports.append(report)
    return policy.output.grad.clone(), reports


def texts(batch: PromptBatch, index: int = 0) -> tuple[str, str]:
    pair, prompt = batch.words[index], batch.prompts[index]
    return f"{pair.positive}. {prompt}", f"{pair.negative}. {prompt}"


def with_words(batch: PromptBatch, positive: str, negative: str) -> PromptBatch:
    pair = WordPair.model_construct(positive=positive, negative=negative, weight=1.0)  # the door refuses equal words
    return PromptBatch(batch.prompts, batch.conditioning, [pair] * len(batch.prompts))


# ── the relative reward ───────────────────────────────────────────────────────────────────────────────────────────────


def test_identical_words_cancel(linear_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 7, first half: r = 0 and a gradient of exactly zero."""
    gradient, (report,) = run(srpo(**NO_DISCOUNT), linear_policy(), linear_reward(), with_words(batch, "a", "a"), rng)
    assert gradient.abs().max() == 0
    assert report.metrics["denoise.reward"].abs().max() == 0


def test_swapped_words_flip_the_reward_and_the_gradient(linear_policy, linear_reward, batch, rng: Rng) -> None:
    """Oracle 7, second half."""
    method = srpo(**NO_DISCOUNT)
    there, (one,) = run(method, linear_policy(), linear_reward(), with_words(batch, "a", "b"), rng)
    back, (two,) = run(method, linear_policy(), linear_reward(), with_words(batch, "b", "a"), rng)
    assert_close(back, -there)
    assert_close(two.metrics["denoise.reward"], -one.metrics["denoise.reward"])


def test_the_reward_reads_word_dot_prompt_and_the_network_the_plain_prompt(
    linear_policy, linear_reward, batch: PromptBatch, rng: Rng
) -> None:
    reward = linear_reward()
    run(srpo(), linear_policy(), reward, batch, rng)
    (asked,) = reward.texts
    assert asked[:2] == [["3d. a cat", "flat. a cat"], ["sharp. a dog", "blurry. a dog"]]
    assert asked[2:] == asked[:2]


def test_one_picture_pass_serves_both_words(linear_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 8, the method's part: f(x) . w equals (1+k) R(pos) - R(neg) of two passes, and so does its gradient."""
    reward, policy = linear_reward(), linear_policy()
    _, (report,) = run(srpo(inversion=0), policy, reward, batch, rng)
    (pictures,) = reward.seen
    assert len(pictures) == len(batch.prompts)  # not twice
    pictures = pictures.detach().requires_grad_()
    weights = srpo().draw_branches(rng.integer("level", 5, 995))[0].weights
    rewards = torch.stack([reward.score(pictures, reward.target([[texts(batch, i)[side]] for i in (0, 1)]))[:, 0]
                           for side in (0, 1)], dim=1)  # fmt: skip
    assert_close(report.metrics["denoise.reward"], (weights * rewards).sum(dim=1).detach(), rtol=1e-5, atol=1e-5)


# ── the gradient ──────────────────────────────────────────────────────────────────────────────────────────────────────


def branch_gradient(name: str, method: Srpo, policy, reward, batch: PromptBatch, rng: Rng) -> Tensor:
    """The gradient of one branch's -r alone."""
    reports = method.model_copy(update={"branches": "sequential"}).losses(policy, reward, batch, rng)
    for report in reports:
        policy.output.grad = None
        report.loss.backward()
        if f"{name}.reward" in report.metrics:
            return 2 * policy.output.grad.clone()  # a branch's share of the loss is one half
    raise AssertionError(name)


def test_the_branches_push_in_exactly_opposite_directions_for_one_reward(
    linear_policy, linear_reward, one_prompt: PromptBatch, one_rng: Rng
) -> None:
    """Oracle 5: equal sigma and step, the same reward direction, so exact negatives; the words undo the sign."""
    method = srpo(**NO_DISCOUNT)
    denoise = branch_gradient("denoise", method, linear_policy(), linear_reward(), one_prompt, one_rng)
    swapped = with_words(one_prompt, "flat", "3d")
    inversion = branch_gradient("inversion", method, linear_policy(), linear_reward(), swapped, one_rng)
    assert denoise.abs().max() > 0
    assert_close(inversion, -denoise, rtol=1e-4, atol=1e-6)


def test_the_net_gradient_is_gain_times_weighted_words(
    linear_policy, linear_reward, one_prompt: PromptBatch, one_rng: Rng
) -> None:
    """Oracle 6: d loss / d output = gain ((2 + k_pos) grad pos - (2 + k_inv) grad neg), a branch's loss being -r."""
    method, reward = srpo(), linear_reward()
    gradient, (report,) = run(method, linear_policy(), reward, one_prompt, one_rng)
    denoise, inversion = method.draw_branches(one_rng.integer("level", 5, 995))
    k_pos, k_inv = denoise.weights[0, 0] - 1, inversion.weights[0, 1] - 1
    gain = ((denoise.sigma_in - denoise.target) / (1 - denoise.target)).double()
    positive, negative = (reward.direction(text) for text in texts(one_prompt))
    expected = gain * ((2 + k_pos) * positive - (2 + k_inv) * negative)
    assert_close(2 * gradient, expected, rtol=1e-4, atol=1e-6)
    assert (k_pos, k_inv) != (0, 0)
    assert report.metrics["denoise.gain"].item() == pytest.approx(
        (denoise.sigma_in / (1 - denoise.sigma_in) - denoise.target / (1 - denoise.target)).item(), rel=1e-4
    )


@pytest.mark.parametrize(("recover", "at_target"), [("code", True), ("paper", False)])
def test_the_gradient_is_linear_in_the_step_and_scales_with_the_level_in_the_codes_form_only(
    linear_policy, linear_reward, one_prompt: PromptBatch, recover: str, at_target: bool
) -> None:
    """Oracle 4: doubled step, doubled gradient; 1 / (1 - sigma) at a fixed step in the code's form, flat in eq. 5."""
    rngs = [Rng(3, update, (0,)) for update in range(40)]
    middle = [rng for rng in rngs if 250 < int(rng.integer("level", 5, 995)) < 750][:4]
    scaled = []
    for rng in middle:
        norms, targets = [], []
        for share in (0.9, 0.8):  # 100 and 200 grid entries
            method = srpo(inversion=0, known_share=share, recover=recover, **NO_DISCOUNT)
            gradient, (report,) = run(method, linear_policy(), linear_reward(), one_prompt, rng)
            norms.append(gradient.norm())
            targets.append(report.metrics["denoise.sigma"])
        assert targets[0] == targets[1]
        assert (norms[1] / norms[0]).item() == pytest.approx(2.0, abs=1e-3)
        scaled.append((norms[0] * (1 - targets[0]) if at_target else norms[0]).item())
    assert scaled == pytest.approx([scaled[0]] * 4, rel=1e-3)


def test_no_step_recovers_the_picture_itself_and_gives_no_gradient(
    bending_policy, linear_reward, one_prompt: PromptBatch, one_rng: Rng
) -> None:
    """Oracle 4, the limit: step to 0, recover to x0, reward to R(x0), gradient to 0."""
    errors, norms = [], []
    for levels in (100, 1000, 10_000):  # a step of one entry of an ever finer grid
        method = srpo(levels=levels, known_share=1 - 1e-9, **NO_DISCOUNT)
        gradient, (report,) = run(method, bending_policy(), linear_reward(), one_prompt, one_rng)
        errors.append(report.metrics["recover_error"].max().item())
        norms.append(gradient.norm().item())
    for values in (errors, norms):
        assert values[0] > 5 * values[1] > 25 * values[2]
        assert values[2] < 3e-3


@pytest.mark.parametrize("margin", [None, 0.7])
@pytest.mark.parametrize("recover", ["code", "paper"])
def test_batched_branches_give_the_gradient_of_sequential_ones(
    bending_policy, linear_reward, batch: PromptBatch, rng: Rng, recover: str, margin: float | None
) -> None:
    """Oracle 16, on a network whose gradient depends on where it is asked; on real networks in tests/contract."""
    changes = {"recover": recover, "margin": margin, "augmentation": 1.0, "inversion": 0.3}
    together, one = run(srpo(branches="batched", **changes), bending_policy(), linear_reward(), batch, rng)
    apart, two = run(srpo(branches="sequential", **changes), bending_policy(), linear_reward(), batch, rng)
    assert (len(one), len(two)) == (1, 2)
    assert_close(together, apart, rtol=1e-6, atol=1e-9)
    assert_close(one[0].loss, two[0].loss + two[1].loss)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_inversion_branch_counts_as_much_as_it_is_told(
    linear_policy, linear_reward, batch: PromptBatch, rng: Rng, weight: float
) -> None:
    gradient = {w: run(srpo(inversion=w), linear_policy(), linear_reward(), batch, rng)[0] for w in (0.0, weight, 1.0)}
    assert_close(gradient[weight] - gradient[0.0], weight * (gradient[1.0] - gradient[0.0]))


@pytest.mark.parametrize("branches", ["batched", "sequential"])
def test_rollout_and_gradient_have_their_own_guidance(
    linear_policy, linear_reward, batch: PromptBatch, rng: Rng, branches: str
) -> None:
    policy = linear_policy()
    run(srpo(branches=branches, guidance_scale=3.5, rollout_guidance_scale=2.0), policy, linear_reward(), batch, rng)
    assert policy.rollout == [2.0] * 3
    assert {call.guidance_scale for call in policy.calls} == {3.5}


def test_a_satisfied_hinge_gives_no_gradient(linear_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    """Oracle 17: above the margin relu is flat; below it the gradient is that of -r."""
    satisfied, (report,) = run(srpo(margin=-1e4), linear_policy(), linear_reward(), batch, rng)
    assert satisfied.abs().max() == 0
    assert report.metrics["denoise.active"].max() == 0
    hungry, (report,) = run(srpo(margin=1e4), linear_policy(), linear_reward(), batch, rng)
    free, _ = run(srpo(margin=None), linear_policy(), linear_reward(), batch, rng)
    assert_close(hungry, free)
    assert report.metrics["denoise.active"].min() == 1


def test_nothing_but_the_network_receives_a_gradient(bending_policy, linear_reward, batch: PromptBatch, rng) -> None:
    """Oracle 13, the method's part: x0, the known noise and the input carry none, so one call alone carries it."""
    policy, reward = bending_policy(), linear_reward()
    run(srpo(), policy, reward, batch, rng)
    (call,) = policy.calls
    assert not call.x_t.requires_grad
    assert len(policy.rollout) == 3
    assert not reward.target(reward.texts[0]).requires_grad


# ── noise ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_straight_model_sees_its_own_picture_at_every_level(linear_policy, linear_reward, batch, rng: Rng) -> None:
    """Oracle 12 through the whole method: coupled noise recovers x0 exactly, fresh noise does not."""
    _, (coupled,) = run(srpo(), linear_policy(), linear_reward(), batch, rng)
    _, (fresh,) = run(srpo(noise_coupling="fresh"), linear_policy(), linear_reward(), batch, rng)
    assert coupled.metrics["recover_error"].max() < 1e-5
    assert fresh.metrics["recover_error"].min() > 1e-3


def test_shared_noise_starts_all_samples_of_an_update_alike(linear_policy, linear_reward, batch, rng: Rng) -> None:
    for shared in (True, False):
        reward = linear_reward()
        run(srpo(shared_noise=shared, inversion=0), linear_policy(), reward, batch, rng)
        alike = torch.allclose(reward.seen[0][0], reward.seen[0][1], atol=1e-4)
        assert alike is shared


def test_the_same_update_is_the_same_again(bending_policy, linear_reward, batch: PromptBatch, rng: Rng) -> None:
    once, _ = run(srpo(augmentation=1.0), bending_policy(), linear_reward(), batch, rng)
    again, _ = run(srpo(augmentation=1.0), bending_policy(), linear_reward(), batch, rng)
    assert torch.equal(once, again)


# ── photos instead of rollouts ────────────────────────────────────────────────────────────────────────────────────────


def with_photos(batch: PromptBatch) -> PhotoBatch:
    latents = Rng(21, 0, (0, 1)).normal("photo", (3, 2, 2)).double()
    return PhotoBatch(batch.prompts, batch.conditioning, batch.words, latents, torch.ones(2))


@pytest.mark.parametrize(("source", "update", "rolls_out"), [
    ("rollout", 0, True), ("photos", 99, False), ("mixed", 29, False), ("mixed", 30, True),
])  # fmt: skip
def test_photos_take_the_rollouts_place(
    bending_policy, linear_reward, batch: PromptBatch, source: str, update: int, rolls_out: bool
) -> None:
    """Offline SRPO: no sampling, everything after it unchanged."""
    policy, photos = bending_policy(), with_photos(batch)
    _, (report,) = run(srpo(source=source), policy, linear_reward(), photos, Rng(3, update, (0, 1)))
    assert len(policy.rollout) == (3 if rolls_out else 0)
    assert report.metrics["denoise.reward"].abs().max() > 0


def test_a_photos_noise_is_fresh_and_its_gradient_that_of_a_rollout_which_ended_there(
    linear_policy, linear_reward, batch: PromptBatch, rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = with_photos(batch)
    offline, _ = run(srpo(source="photos"), linear_policy(), linear_reward(), photos, rng)
    monkeypatch.setattr(Srpo, "rollout", lambda *_: photos.latents)
    online, _ = run(srpo(noise_coupling="fresh"), linear_policy(), linear_reward(), batch, rng)
    assert_close(offline, online)  # a constant network's gradient knows no noise


def test_with_a_step_of_nothing_a_photo_teaches_nothing(linear_policy, linear_reward, batch, rng: Rng) -> None:
    """It is reward optimisation, not regression to the photo."""
    steps = [srpo(source="photos", known_share=share, inversion=0, levels=100_000) for share in (0.99999, 0.9)]
    small, large = (run(m, linear_policy(), linear_reward(), with_photos(batch), rng)[0].abs().max() for m in steps)
    assert small < 2e-3 * large
