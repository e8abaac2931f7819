"""DPO, and what every preference method shares, against pencil and paper."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from toolkit.recipe import Section
from training import tables
from training.contracts import PairBatch
from training.interpolants import Estimate
from training.methods import METHODS
from training.methods._denoising import mean_square, noised
from training.methods._preference import Preference, Sides
from training.methods.dpo import Dpo
from training.randomness import Rng

from .conftest import FAMILIES, at_once, drawn_at, error_and_gap, pair_batch, run, side, sides_of, swapped

LN2 = math.log(2)
FAMILY = [name for name in METHODS if "pairs" in tables.load_class(METHODS, name).needs]
EVERY_PLUG = {"safeguard": 0.7, "sft_weight": 0.3, "label_smoothing": 0.2, "logit_margin": 0.1}


def build(name: str, **changes) -> Preference:
    known = tables.load_class(METHODS, name).model_fields
    method = tables.method(Section(name=name, settings={k: v for k, v in changes.items() if k in known}))
    assert isinstance(method, Preference)
    return method


# ── at the start ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_gives_ln_2_and_a_gradient_of_a_quarter_beta(tuned_policy, pairs, four, family: str) -> None:
    """Oracle 1: Δ = 0 and s = 0 bitwise, loss ln 2, accuracy one half, gradient β/4 ∇(e_w - e_l)."""
    policy = tuned_policy(parametrisation=family)
    gradient, numbers = run(Dpo(beta=8), policy, pairs, four)
    for name in ("logit", "gap_chosen", "gap_rejected"):
        assert torch.equal(numbers[name], torch.zeros_like(numbers[name]))
    assert numbers["loss"].item() == pytest.approx(LN2, abs=1e-7)
    assert numbers["accuracy"].tolist() == [0.5] * 4
    policy.output.grad = None
    sides = sides_of(Dpo(), policy, pairs, four)
    (2 * (sides.chosen.error - sides.rejected.error).mean()).backward()
    assert gradient.abs().max() > 0
    assert_close(gradient, policy.output.grad)


# ── the two phases ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("plugs", [{}, EVERY_PLUG], ids=["plain", "every plug-in"])
def test_two_phases_give_the_gradient_of_one_graph(tuned_policy, uneven_pairs, four, name: str, plugs: dict) -> None:
    """Oracle 5: to 1e-6, with and without every plug-in, weights and margins included."""
    method, policy = build(name, beta=3.0, **plugs), tuned_policy(0.4)
    loss, expected = at_once(method, policy, uneven_pairs, four)
    gradient, numbers = run(method, policy, uneven_pairs, four)
    assert expected.abs().max() > 1e-4
    assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert_close(numbers["loss"], loss, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", FAMILY)
def test_one_picture_at_a_time_carries_gradient(tuned_policy, pairs, four, name: str) -> None:
    policy = tuned_policy(0.1)
    for report in build(name).losses(policy, None, pairs, four):
        with_gradient = [x_t for x_t, _, gradient in policy.asked if gradient]
        assert len(with_gradient) == 1
        assert len(with_gradient[0]) == 4
        policy.asked.clear()
        report.loss.backward()
    assert all(is_on for _, is_on, gradient in policy.asked if gradient)


@pytest.mark.parametrize("name", [n for n in FAMILY if n not in ("dpo_cm", "sdpo", "sipo")])
def test_micro_batches_add_up_to_one_batch(tuned_policy, pairs, four, name: str) -> None:
    """Oracle 5, second half. (Masked methods average over the unmasked pairs of a micro-batch.)"""
    method, policy = build(name, beta=3.0), tuned_policy(0.3)
    whole, _ = run(method, policy, pairs, four)
    halves = []
    for part in ((0, 1), (2, 3)):
        fields = {key: getattr(pairs, key)[part[0] : part[1] + 1] for key in
                  ("prompts", "chosen", "rejected", "weights", "margins", "scores")}  # fmt: skip
        batch = PairBatch(conditioning={"text": torch.zeros(2, 1)}, words=[], **fields)
        halves.append(run(method, policy, batch, Rng(four.seed, four.update, part))[0])
    assert_close(sum(halves) / 2, whole, rtol=1e-6, atol=1e-9)


# ── the logit ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_swapping_the_sides_flips_the_logit(tuned_policy, pairs, four) -> None:
    """Oracle 2: s(w, l) = -s(l, w), L(w, l) - L(l, w) = -s(w, l) per pair, sigmoids sum to 1."""
    method, policy = Dpo(beta=5), tuned_policy(0.5)
    _, there = run(method, policy, pairs, four)
    _, back = run(method, policy, swapped(pairs), four)
    assert there["logit"].abs().min() > 1e-3
    assert_close(there["logit"], -back["logit"])
    assert_close(there["loss"] - back["loss"], -there["logit"].mean())
    assert_close(there["logit"].sigmoid() + back["logit"].sigmoid(), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("name", [n for n in FAMILY if n not in ("mapo", "dspo")])
def test_one_picture_on_both_sides_teaches_nothing(tuned_policy, pairs, four, name: str) -> None:
    """Oracle 3: shared noise, any adapter: s = 0 and no gradient. (MaPO and DSPO also learn from the chosen side.)"""
    gradient, numbers = run(build(name), tuned_policy(0.7), replace(pairs, rejected=pairs.chosen), four)
    assert numbers["logit"].abs().max() == 0
    assert gradient.abs().max() < 1e-12


def test_noise_of_its_own_for_each_side_breaks_that_tie(tuned_policy, pairs, four) -> None:
    _, numbers = run(Dpo(share_noise=False), tuned_policy(0.7), replace(pairs, rejected=pairs.chosen), four)
    assert numbers["logit"].abs().min() > 0


def test_a_small_beta_makes_the_loss_linear(tuned_policy, pairs, four) -> None:
    """Oracle 4: L = ln 2 - s/2 + O(s²)."""
    _, numbers = run(Dpo(beta=1e-3), tuned_policy(0.5), pairs, four)
    assert numbers["loss"].item() == pytest.approx(LN2 - numbers["logit"].mean().item() / 2, abs=1e-7)
    assert numbers["loss"].item() != pytest.approx(LN2, abs=1e-7)


@given(logit=st.floats(-5, 5), share=st.floats(0, 0.5))
def test_label_smoothing_adds_its_share_of_the_logit(logit: float, share: float) -> None:
    """(1 - ζ) ln(1 + exp(-s)) + ζ ln(1 + exp(s)) = ln(1 + exp(-s)) + ζ s. Oracle 4, last part: ½ is smallest at 0."""

    def cost(smoothing: float) -> float:
        chosen, rejected = (side(error=torch.tensor([error], dtype=torch.float64)) for error in (0.0, logit))
        sides = Sides(chosen, rejected, drawn_at(500), [])
        return Dpo(beta=2, label_smoothing=smoothing).objective(sides, pair_batch(1))[0].item()

    assert cost(share) == pytest.approx(math.log1p(math.exp(-logit)) + share * logit)
    assert cost(0.5) >= LN2 - 1e-12


def test_the_logit_is_minus_half_beta_times_the_difference_of_gaps(tuned_policy, pairs, four) -> None:
    """By hand, independent of the class: each side's error and gap of the velocity against noise - x0."""
    policy, noise, gaps = tuned_policy(0.5), four.normal("noise", (3, 2, 2)), []
    _, numbers = run(Dpo(beta=6), policy, pairs, four)
    for name in ("chosen", "rejected"):
        error, gap = error_and_gap(policy, getattr(pairs, name), noise, numbers["sigma"])
        assert_close(numbers[f"error_{name}"], error, rtol=1e-5, atol=1e-7)
        assert_close(numbers[f"gap_{name}"], gap, rtol=1e-5, atol=1e-7)
        gaps.append(gap)
    assert_close(numbers["logit"], -3 * (gaps[0] - gaps[1]), rtol=1e-5, atol=1e-7)


# ── parametrisations and layouts ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_of_the_noise_are_alpha_squared_those_of_the_velocity(tuned_policy, pairs, four, family: str) -> None:
    """Oracle 6: MSE_ε = α² MSE_v for both v families, and MSE_ε = (α/σ)² MSE_x0 for all."""
    policy = tuned_policy(0.5, family)
    sides = {space: sides_of(Dpo(loss_space=space), policy, pairs, four) for space in ("native", "noise", "x0")}
    level = sides["noise"].drawn.level
    scale = torch.ones(4) if family == "epsilon" else level.alpha.square()
    errors = {space: side.chosen.error for space, side in sides.items()}
    assert_close(errors["noise"], scale * errors["native"], rtol=1e-4, atol=1e-7)
    assert_close(errors["noise"], errors["x0"] / level.rho.square(), rtol=1e-4, atol=1e-7)
    assert_close(sides["native"].chosen.x0_error, errors["x0"], rtol=1e-6, atol=0)


def test_flow_dpo_with_falling_beta_is_noise_dpo(tuned_policy, pairs, four) -> None:
    """Oracle 6, second half: β (1 - σ)² on the velocity equals β on the noise, gradient and all."""
    falling, _ = run(Dpo(beta=7, beta_schedule="alpha2"), tuned_policy(0.5), pairs, four)
    of_noise, _ = run(Dpo(beta=7, loss_space="noise"), tuned_policy(0.5), pairs, four)
    assert_close(falling, of_noise, rtol=1e-5, atol=1e-8)


def test_axes_may_change_places_and_frames_may_repeat(linear_policy, four) -> None:
    """Oracle 17: a mean over all dimensions knows neither order nor length."""
    values = torch.randn(4, 3, 5, 2, 2, generator=torch.Generator().manual_seed(1))
    assert_close(mean_square(values), mean_square(values.transpose(1, 2)))
    assert_close(mean_square(values), mean_square(values.repeat_interleave(3, dim=2)))


def test_the_noise_mixed_in_is_the_noise_asked_for() -> None:
    x0, noise = pair_batch().chosen, pair_batch().rejected
    level = FAMILIES["epsilon"]().level(torch.tensor([0.1, 0.4, 0.7, 0.9]))
    view = noised(x0, noise, level)
    assert_close(level.alpha.square() + level.sigma.square(), torch.ones(4))
    assert_close(view.x_t, level.alpha.view(-1, 1, 1, 1) * x0 + level.sigma.view(-1, 1, 1, 1) * noise)


# ── levels ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("density", ["sampler", "logit_normal"])
@pytest.mark.parametrize("family", FAMILIES)
def test_levels_are_the_familys_own_within_the_range(tuned_policy, family: str, density) -> None:
    method = Dpo(level_density=density, sigma_low=0.3, sigma_high=0.7)
    policy, rng = tuned_policy(parametrisation=family), Rng(0, 0, tuple(range(400)))
    drawn = method.draw(policy, rng)
    assert set(drawn.sigma.tolist()) <= set(policy.schedule.grid(1000).tolist())
    assert 0.3 <= drawn.sigma.min() < 0.35
    assert 0.65 < drawn.sigma.max() <= 0.7
    outer = ((drawn.sigma - 0.5).abs() > 0.15).float().mean().item()
    assert outer == pytest.approx(0.25 if density == "sampler" else 0.052, abs=0.05)  # outside ±1.95 of a normal


def test_every_level_may_be_drawn_but_the_clean_picture(tuned_policy) -> None:
    drawn = Dpo().draw(tuned_policy(), Rng(0, 0, tuple(range(4000))))
    assert (drawn.place.min(), drawn.place.max()) == (0, 999)
    assert drawn.sigma.min() > 0


# ── plug-ins ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_safeguard_never_lets_the_rejected_side_undo_the_chosen_one(tuned_policy, pairs, four) -> None:
    """Oracle 15: λ from the two gradients; ⟨-g_w + λ g_l, g_w⟩ ≤ -μ |g_w|² wherever they agree; the value stays."""
    policy = tuned_policy(0.5)
    for mu in (0.2, 0.9):
        plain, guarded = Dpo(beta=4), Dpo(beta=4, safeguard=mu)
        _, numbers = run(guarded, policy, pairs, four)
        sides = sides_of(guarded, policy, pairs, four)
        g_w, g_l = sides.chosen.miss.flatten(1), sides.rejected.miss.flatten(1)
        agree = (g_w * g_l).sum(dim=1)
        after = ((-g_w + numbers["safeguard"][:, None] * g_l) * g_w).sum(dim=1)
        assert (after[agree > 0] <= -mu * g_w.square().sum(dim=1)[agree > 0] + 1e-9).all()
        assert (numbers["safeguard"][agree <= 0] == 1).all()
        assert numbers["loss"].item() == pytest.approx(run(plain, policy, pairs, four)[1]["loss"].item(), rel=1e-9)


def test_equal_sides_leave_one_minus_mu_of_the_rejected_push(tuned_policy, pairs, four) -> None:
    """Oracle 15, first part: g_l = g_w gives λ = 1 - μ, and opposed ones give 1."""
    _, numbers = run(Dpo(safeguard=0.7), tuned_policy(0.5), replace(pairs, rejected=pairs.chosen), four)
    assert_close(numbers["safeguard"], torch.full((4,), 0.3, dtype=torch.float64))
    sides = sides_of(Dpo(), tuned_policy(0.5), pairs, four)
    opposed = replace(sides, rejected=replace(sides.rejected, miss=-sides.chosen.miss))
    assert Dpo(safeguard=0.7).guarded(opposed)[1]["safeguard"].tolist() == [1.0] * 4


def test_the_rejected_side_teaches_with_its_safeguarded_share(tuned_policy, pairs, four) -> None:
    """Oracle 15's λ in the gradient: β/2 sigmoid(-s) (∇e_w - λ ∇e_l)."""
    policy, guarded = tuned_policy(0.5), Dpo(beta=4, safeguard=0.7)
    gradient, numbers = run(guarded, policy, pairs, four)
    assert (numbers["safeguard"] < 1).any()
    policy.output.grad = None
    sides = sides_of(guarded, policy, pairs, four)
    push = sides.chosen.error - numbers["safeguard"] * sides.rejected.error
    (2 * torch.sigmoid(-numbers["logit"]) * push).mean().backward()
    assert_close(gradient, policy.output.grad, rtol=1e-6, atol=1e-9)


def test_the_anchor_is_plain_learning_from_the_chosen_side(tuned_policy, uneven_pairs, four) -> None:
    policy = tuned_policy(0.5)
    with_anchor, _ = run(Dpo(sft_weight=0.5), policy, uneven_pairs, four)
    without, _ = run(Dpo(), policy, uneven_pairs, four)
    policy.output.grad = None
    (0.5 * uneven_pairs.weights * sides_of(Dpo(), policy, uneven_pairs, four).chosen.error).mean().backward()
    assert_close(with_anchor - without, policy.output.grad, rtol=1e-6, atol=1e-9)


def test_margins_of_the_settings_and_of_the_data_add_up(tuned_policy, pairs, four) -> None:
    with_both = replace(pairs, margins=torch.full((4,), 0.25, dtype=torch.float64))
    _, one = run(Dpo(logit_margin=0.5), tuned_policy(0.5), with_both, four)
    _, other = run(Dpo(logit_margin=0.75), tuned_policy(0.5), pairs, four)
    assert_close(one["loss"], other["loss"])
    assert one["loss"] > run(Dpo(), tuned_policy(0.5), pairs, four)[1]["loss"]


@pytest.mark.parametrize("name", FAMILY)
def test_a_pair_without_weight_is_not_learned_from(tuned_policy, pairs, four, name: str) -> None:
    method, muted = build(name, beta=3.0), replace(pairs, weights=torch.tensor([1.0, 0.0, 1.0, 0.0]))
    other = replace(muted, chosen=muted.chosen.clone())
    other.chosen[[1, 3]] += 0.5
    if name in ("dpo_cm", "sdpo", "sipo"):
        method = build(name, beta=3.0, mask_below=0.0)
    one, two = (run(method, tuned_policy(0.5), batch, four)[0] for batch in (muted, other))
    assert_close(one, two)
    assert one.abs().max() > 0


# ── masks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("plugs", [{}, EVERY_PLUG], ids=["plain", "every plug-in"])
def test_a_white_mask_is_no_mask_bit_for_bit(tuned_policy, pairs, four, name: str, plugs: dict) -> None:
    method = build(name, beta=3.0, **plugs)
    white = replace(pairs, focus=torch.ones(4, 1, 2, 2))
    (plain, numbers), (masked, same) = (run(method, tuned_policy(0.5), batch, four) for batch in (pairs, white))
    assert torch.equal(plain, masked)
    assert all(torch.equal(numbers[key], same[key]) for key in numbers)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("plugs", [{}, EVERY_PLUG], ids=["plain", "every plug-in"])
def test_what_lies_under_black_counts_nothing_at_all(tuned_policy, pairs, four, name: str, plugs: dict) -> None:
    """Whatever is there, loss and gradient keep their bits, and the gradient there is 0. (This network looks nowhere
    else for a place's answer; a real one sees the whole picture.)"""
    if name in ("dpo_cm", "sdpo", "sipo"):
        plugs = {**plugs, "mask_below": 0.0}
    method, black = build(name, beta=3.0, **plugs), (slice(None), slice(None), 0, 1)
    focus = torch.ones(4, 1, 2, 2) * 4 / 3
    focus[black] = 0
    batch = replace(pairs, focus=focus)
    other = replace(batch, chosen=batch.chosen.clone(), rejected=batch.rejected.clone())
    other.chosen[black] += 5
    other.rejected[black] -= 3
    (one, numbers), (two, same) = (run(method, tuned_policy(0.5), each, four) for each in (batch, other))
    assert torch.equal(one, two)
    assert torch.equal(numbers["loss"], same["loss"])
    assert one[:, 0, 1].abs().max() == 0
    assert one[:, 1, 1].abs().max() > 0


@pytest.mark.parametrize("name", FAMILY)
def test_two_phases_give_the_gradient_of_one_graph_under_masks_too(tuned_policy, pairs, four, name: str) -> None:
    batch, policy = replace(pairs, focus=foci(four)), tuned_policy(0.4)
    method = build(name, beta=3.0, **EVERY_PLUG)
    loss, expected = at_once(method, policy, batch, four)
    gradient, numbers = run(method, policy, batch, four)
    assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert_close(numbers["loss"], loss, rtol=1e-6, atol=1e-9)


def test_a_masked_error_is_the_mean_over_what_the_mask_shows(tuned_policy, pairs, four) -> None:
    """By hand: Σ M mean_c(miss²) / Σ M."""
    focus = foci(four)
    method, policy = Dpo(beta=6), tuned_policy(0.5)
    sides = sides_of(method, policy, pairs, four)
    masked = sides_of(method, policy, replace(pairs, focus=focus), four)
    for now, before in zip((masked.chosen, masked.rejected), (sides.chosen, sides.rejected), strict=True):
        per_place = before.miss.square().mean(dim=1)
        wanted = (focus[:, 0] * per_place).sum(dim=(1, 2)) / focus.sum(dim=(1, 2, 3))
        assert_close(now.error.detach(), wanted)
        assert (now.error - before.error).abs().min() > 1e-4


def test_the_safeguard_reads_the_gradients_of_masked_errors(tuned_policy, pairs, four) -> None:
    """<∇e_w, ∇e_l> by the prediction, and both hold the focus itself, not its root."""
    focus = foci(four)
    method, policy = Dpo(beta=6, safeguard=0.7), tuned_policy(0.5)
    misses = [side.miss for side in (lambda s: (s.chosen, s.rejected))(sides_of(method, policy, pairs, four))]
    chosen, rejected = ((focus * miss).flatten(1) for miss in misses)
    wanted = (0.3 * chosen.square().sum(dim=1) / (chosen * rejected).sum(dim=1)).clamp(max=1)
    wanted = torch.where((chosen * rejected).sum(dim=1) > 0, wanted, 1.0)
    _, numbers = run(method, policy, replace(pairs, focus=focus), four)
    assert_close(numbers["safeguard"], wanted)
    assert (wanted < 1).any()


def foci(rng: Rng) -> torch.Tensor:
    """Weights of mean 1, one for each place of 2 × 2."""
    shares = rng.uniform("mask", shape=(1, 2, 2)).double()
    return shares / shares.mean(dim=(1, 2, 3), keepdim=True)


# ── numbers to watch ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_numbers_are_also_given_by_level(tuned_policy, pairs, four) -> None:
    _, numbers = run(Dpo(), tuned_policy(0.5), pairs, four)
    tenths = [f"{int(sigma * 10) / 10:.1f}" for sigma in numbers["sigma"].tolist()]
    shown = [name for name in numbers if name.startswith("accuracy.")]
    assert shown == sorted({f"accuracy.sigma_{tenth}" for tenth in tenths})
    for name in shown:
        here = [
            value for value, tenth in zip(numbers["accuracy"].tolist(), tenths, strict=True) if name.endswith(tenth)
        ]
        assert numbers[name].tolist() == here


def test_the_alarm_hears_the_largest_logits_of_either_sign(tuned_policy, pairs, four) -> None:
    """The 99th percentile of four numbers lies 97/100 of the way from the third to the last."""
    _, numbers = run(Dpo(), tuned_policy(0.5), pairs, four)
    assert numbers["logit"].abs().argmax() == numbers["logit"].argmin()
    *_, third, largest = sorted(map(abs, numbers["logit"].tolist()))
    assert numbers["logit_p99"].item() == pytest.approx(0.03 * third + 0.97 * largest)


@pytest.mark.parametrize("name", FAMILY)
def test_an_examination_sees_what_the_losses_log_and_learns_nothing(tuned_policy, pairs, four, name: str) -> None:
    policy, batch = tuned_policy(0.5), replace(pairs, focus=foci(four))
    method = build(name, beta=3.0)
    seen = method.examine(policy, batch, four)
    assert not any(gradient for _, _, gradient in policy.asked)
    _, numbers = run(method, tuned_policy(0.5), batch, four)
    for key in ("accuracy", "gap_chosen", "gap_rejected"):
        assert torch.equal(seen[key], numbers[key])
        assert not seen[key].requires_grad


def test_the_base_is_the_reference_again_after_a_failure(tuned_policy, pairs, four, monkeypatch) -> None:
    """Oracle 18, second part."""
    policy = tuned_policy(0.5)
    answer = policy.network

    def fail(x_t, level):
        if not policy.is_on:
            raise RuntimeError("no memory")
        return answer(x_t, level)

    monkeypatch.setattr(policy, "network", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        next(iter(Dpo().losses(policy, None, pairs, four)))
    assert policy.is_on


# ── it learns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_hundred_updates_move_a_mixture_to_its_chosen_mode() -> None:
    """Oracle 19: a two-mode mixture; held-out accuracy above 0.9; a larger β moves less."""
    moved = {}
    for beta in (20.0, 200.0):
        toy = Mixture()
        optimizer = torch.optim.Adam([toy.shift], lr=0.02)
        for update in range(200):
            optimizer.zero_grad()
            for report in Dpo(beta=beta, sigma_high=0.95).losses(toy, None, toy.pairs(update), toy.rng(update)):
                report.loss.backward()
            optimizer.step()
        held_out = next(iter(Dpo(beta=beta).losses(toy, None, toy.pairs(10_000), toy.rng(10_000)))).metrics
        assert held_out["accuracy"].mean() > 0.9
        moved[beta] = toy.right_share()
    assert moved[20.0] > moved[200.0] > 0.5


class Mixture:
    """Two points, -1 and 1, with the exact velocity of their mixture; what is trained is the odds of the right one."""

    schedule, latent_shape, device = FAMILIES["velocity"](), (1,), torch.device("cpu")

    def __init__(self) -> None:
        self.shift = torch.zeros((), requires_grad=True)
        self.is_on = True

    def predict(self, x_t, level, conditioning, guidance_scale=1.0):
        alpha, sigma = level.alpha[:, None], level.sigma[:, None].clamp(min=0.02)
        odds = 2 * alpha * x_t / sigma.square() + (self.shift if self.is_on else 0)
        x0 = torch.tanh(odds / 2)
        return Estimate(x0, (x_t - alpha * x0) / sigma)

    def as_output(self, estimate, level):
        return estimate.noise - estimate.x0

    @contextmanager
    def as_reference(self):
        self.is_on = False
        yield
        self.is_on = True

    def rng(self, update: int) -> Rng:
        return Rng(1, update, tuple(range(64)))

    def pairs(self, update: int) -> PairBatch:
        ones = torch.ones(64, 1)
        return PairBatch(["p"] * 64, {}, [], ones, -ones, ones[:, 0], 0 * ones[:, 0], 0.5 * ones.expand(64, 2))

    def right_share(self) -> float:
        return torch.sigmoid(self.shift).item()
