"""What a scorer sees: pictures of any shape as a normalised square, like the published pipelines see them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from training.rewards._pictures import Preprocessing, check_images, uniform_frames

SIZE, MEAN, STD = 8, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
PREPARE = Preprocessing(SIZE, MEAN, STD)


def plain(geometry: str, size: int = 16) -> Preprocessing:
    """Without normalisation."""
    return Preprocessing(size, (0.0,) * 3, (1.0,) * 3, geometry=geometry)


def photo(height: int, width: int) -> Tensor:
    """Smooth shapes with a few sharp edges, in 8-bit steps, [1, 3, H, W]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = torch.stack([torch.sin(9 * x + 4 * y), torch.cos(7 * y * x), (x * 6).floor() % 2]) / 2 + 0.5
    return (waves.clamp(0, 1) * 255).round()[None] / 255


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(3, 8, 8),
        torch.rand(1, 4, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.rand(1, 3, 8, 8) * 255,
        torch.rand(1, 3, 8, 8) * 2 - 1.01,
    ],
    ids=["no batch", "four channels", "bytes", "0 to 255", "-1 to 1"],
)
def test_anything_but_float_pictures_between_0_and_1_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="a reward wants"):
        check_images(images)


def test_nan_passes_the_check_so_that_the_trainer_can_name_it() -> None:
    check_images(torch.full((1, 3, 8, 8), float("nan")))


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (8, 9), (5, 7)])
def test_a_picture_that_is_not_square_is_resized_by_its_short_side_and_cropped_in_the_middle(shape: tuple) -> None:
    """CLIP's own way: the borders of the long side are not seen."""
    height, width = shape
    picture = torch.full((1, 3, height, width), 0.5)
    seen = PREPARE(picture)
    assert seen.shape == (1, 3, SIZE, SIZE)
    expected = (0.5 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert_close(seen.mean(dim=(0, 2, 3)), expected, rtol=1e-4, atol=1e-4)


def test_the_borders_of_a_wide_picture_are_invisible() -> None:
    middle = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    wide = torch.cat([torch.zeros(1, 3, 8, 8), middle, torch.ones(1, 3, 8, 8)], dim=-1)
    assert_close(PREPARE(wide), PREPARE(middle))


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    picture = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    restored = PREPARE(picture) * torch.tensor(STD).reshape(3, 1, 1)
    assert_close(restored + torch.tensor(MEAN).reshape(3, 1, 1), picture)


def test_shrinking_is_antialiased() -> None:
    """Fine noise is averaged away (std 0.29 over 64 pixels a piece), not sampled."""
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    assert Preprocessing(SIZE, (0.0,) * 3, (1.0,) * 3)(noise).std() < 0.1


@pytest.mark.parametrize(("height", "width"), [(200, 320), (320, 200), (256, 256)])
@pytest.mark.parametrize("geometry", ["crop", "pad", "stretch"])
def test_pixels_are_those_of_the_published_pipelines(geometry: str, height: int, width: int) -> None:
    """Source: PIL's bicubic on 8-bit pictures with the geometry of CLIP, of HPSv2 and of SigLIP; mean error < 0.002."""
    picture, size = photo(height, width), 64
    image = Image.fromarray((picture[0].permute(1, 2, 0) * 255).byte().numpy())
    ratio = size / (max if geometry == "pad" else min)(height, width)
    wanted = (size, size) if geometry == "stretch" else (round(width * ratio), round(height * ratio))
    resized = np.asarray(image.resize(wanted, Image.Resampling.BICUBIC), dtype=np.float32) / 255
    top, left = (abs(size - side) // 2 for side in resized.shape[:2])
    if geometry == "pad":
        expected = np.zeros((size, size, 3), dtype=np.float32)
        expected[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    else:
        expected = resized[top : top + size, left : left + size]
    seen = plain(geometry, size)(picture)[0].permute(1, 2, 0)
    assert (seen - torch.from_numpy(expected)).abs().mean() < 2e-3


def test_padding_is_black_before_normalising_and_takes_no_gradient() -> None:
    wide = torch.full((1, 3, 8, 32), 0.5, requires_grad=True)
    seen = Preprocessing(16, MEAN, STD, geometry="pad")(wide)
    assert_close(seen[0, :, 0, 0], -torch.tensor(MEAN) / torch.tensor(STD))
    assert_close(seen[0, :, 8, 8], (0.5 - torch.tensor(MEAN)) / torch.tensor(STD))
    seen.sum().backward()
    assert wide.grad.abs().min() > 0


def test_geometries_differ_only_for_pictures_that_are_not_square() -> None:
    square, wide = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 60)
    assert_close(plain("pad")(square), plain("crop")(square))
    assert not torch.allclose(plain("pad")(wide), plain("crop")(wide))
    assert not torch.allclose(plain("stretch")(wide), plain("crop")(wide))


def test_saturated_pixels_stay_in_range_and_keep_their_gradient() -> None:
    """Bicubic overshoots at an edge; 8-bit pipelines cut that off, and a hard cut would stop the gradient."""
    edge = torch.zeros(1, 3, 40, 40)
    edge[..., 20:] = 1.0
    seen = plain("crop")(edge)
    assert (seen.min(), seen.max()) == (0, 1)
    edge.requires_grad_()
    plain("crop")(edge).sum().backward()
    assert_close(edge.grad.sum(), torch.tensor(3.0 * 16 * 16), rtol=1e-4, atol=0)


def test_low_precision_pictures_are_resized_in_float32() -> None:
    picture = photo(60, 80)
    assert plain("crop")(picture.bfloat16()).dtype == torch.float32
    assert (plain("crop")(picture.bfloat16()) - plain("crop")(picture)).abs().mean() < 2e-3


@pytest.mark.parametrize(("total", "count", "expected"), [(1, 8, [0]), (4, 8, [0, 1, 2, 3]), (9, 3, [1, 4, 7])])
def test_frames_are_evenly_spaced(total: int, count: int, expected: list[int]) -> None:
    videos = torch.arange(total).reshape(1, total, 1, 1, 1).float()
    assert uniform_frames(videos, count).flatten().tolist() == expected
