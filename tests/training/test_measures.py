"""The numbers of the guards, on pictures whose answer is known by looking."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from training import measures


def plain(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue]).reshape(1, 3, 1, 1).expand(1, 3, 6, 6)


def unit(seed: int, count: int = 5) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_grey_has_no_saturation_and_pure_colours_have_all_of_it() -> None:
    pictures = torch.cat([plain(0.5, 0.5, 0.5), plain(1, 0, 0), plain(0.8, 0.6, 0.3)])
    assert measures.saturation(pictures).tolist() == pytest.approx([0.0, 1.0, 0.5])


def test_brightness_weighs_colours_as_eyes_do() -> None:
    """Source: ITU-R BT.709 luma."""
    pictures = torch.cat([plain(1, 0, 0), plain(0, 1, 0), plain(0, 0, 1), plain(0.4, 0.4, 0.4)])
    assert measures.brightness(pictures).tolist() == pytest.approx([0.2126, 0.7152, 0.0722, 0.4])


def test_a_pixel_is_clipped_when_any_channel_is_at_an_end() -> None:
    pictures = torch.cat([plain(0.5, 0.5, 0.5), plain(1, 0.5, 0.5), plain(0.5, 0, 0.5)])
    half = torch.cat([plain(0.5, 0.5, 0.5)[..., :3], plain(0, 0, 0)[..., :3]], dim=-1)
    assert measures.clipped(pictures).tolist() == [0.0, 1.0, 1.0]
    assert measures.clipped(half).tolist() == [0.5]


def test_a_margin_wins_loses_or_does_half_of_both() -> None:
    assert measures.wins(torch.tensor([2.0, 1e-30, 0.0, -1e-30, -3.0])).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_texture_is_zero_on_slopes_and_known_on_a_checkerboard() -> None:
    slope = torch.linspace(0, 1, 6).expand(1, 3, 6, 6)
    checker = ((torch.arange(6)[:, None] + torch.arange(6)[None, :]) % 2).float().expand(1, 3, 6, 6)
    assert measures.texture(slope).item() == pytest.approx(0.0, abs=1e-6)
    assert measures.texture(checker).item() == pytest.approx(4.0)  # |4 - 0| or |0 - 4| at every inner pixel


def test_diversity_is_zero_for_copies_and_one_for_strangers() -> None:
    assert measures.diversity(unit(1, 1).expand(4, 4)).item() == pytest.approx(0.0, abs=1e-6)
    assert measures.diversity(torch.eye(4)).item() == pytest.approx(1.0)
    assert measures.diversity(torch.tensor([[1.0, 0.0], [0.6, 0.8]])).item() == pytest.approx(0.4)


@given(seed=st.integers(0, 1000))
def test_diversity_is_one_minus_the_mean_cosine_of_all_pairs(seed: int) -> None:
    features = unit(seed)
    pairs = [float(features[i] @ features[j]) for i in range(5) for j in range(5) if i != j]
    assert measures.diversity(features).item() == pytest.approx(1 - sum(pairs) / len(pairs), abs=1e-5)


def test_recall_counts_pictures_whose_text_is_among_the_nearest() -> None:
    texts = torch.eye(4)
    pictures = functional.normalize(torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]]), dim=-1)
    wanted = torch.tensor([0, 2])
    assert [measures.recall(pictures, texts, wanted, k).item() for k in (1, 2, 3, 9)] == [0.5, 0.5, 1.0, 1.0]


def test_auc_is_one_for_separated_half_for_tied_and_zero_for_reversed_scores() -> None:
    low, high = torch.tensor([0.0, 0.1]), torch.tensor([0.5, 0.9])
    assert (measures.auc(high, low), measures.auc(low, low), measures.auc(low, high)) == (1.0, 0.5, 0.0)
    assert measures.auc(torch.tensor([1.0, 3.0]), torch.tensor([2.0])) == 0.5


@given(seed=st.integers(0, 1000))
def test_measures_are_taken_per_picture(seed: int) -> None:
    pictures = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    for measure in (measures.saturation, measures.brightness, measures.clipped, measures.texture):
        alone = torch.cat([measure(picture[None]) for picture in pictures])
        assert torch.allclose(measure(pictures), alone)
