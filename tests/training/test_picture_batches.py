"""Pictures become latents once, whoever asks; which pair an update sees is a function of the seed alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import folders, unet
from torch.testing import assert_close

from toolkit.errors import UsageError
from toolkit.pairs import Like, Pair, Photo, Picture, shape
from toolkit.recipe import Section
from training import tables
from training.batches import Sharding
from training.latent_cache import LatentCache, fitted, focus
from training.picture_batches import LikeBatches, PairBatches, PhotoBatches, placeholder


def encode(prompts) -> dict[str, torch.Tensor]:
    return {"length": torch.tensor([[float(len(prompt))] for prompt in prompts])}


def number(picture: Picture) -> float:
    return float(picture.path.stem)


def latents(pictures) -> torch.Tensor:
    return torch.stack([torch.full((2,), number(picture)) for picture in pictures])


def pair(at: int, **more) -> Pair:
    return Pair(f"p{at}", Picture(Path(f"{at}.png")), Picture(Path(f"{at + 100}.png")), **more)


def pair_batches(items, *, size: int = 2, accumulation: int = 1, shard=(0, 1)) -> PairBatches:
    options = {"batch_size": size, "accumulation": accumulation, "seed": 5, "sharding": Sharding(*shard)}
    return PairBatches(items, [], encode, latents, **options)


def test_a_pair_stays_together_with_its_prompt_weight_and_margin() -> None:
    items = [pair(n, weight=n + 1.0, margin=n / 10, scores=(n, n - 1.0)) for n in range(7)]
    batch, _ = pair_batches(items, size=7).micro_batch(0, 0)
    at = [int(prompt[1:]) for prompt in batch.prompts]
    assert sorted(at) == list(range(7))
    assert batch.chosen[:, 0].tolist() == at
    assert batch.rejected[:, 0].tolist() == [n + 100 for n in at]
    assert batch.weights.tolist() == [n + 1 for n in at]
    assert_close(batch.margins, torch.tensor(at) / 10)
    assert_close(batch.scores, torch.tensor([[(n + 1) / 7, n / 7] for n in at]))  # of -1 … 6


def test_without_scores_neither_side_is_ahead() -> None:
    batch, _ = pair_batches([pair(0), pair(1, scores=(0.3, 0.3))]).micro_batch(0, 0)
    assert batch.scores.tolist() == [[0.5, 0.5]] * 2


@given(processes=st.integers(1, 4), accumulation=st.integers(1, 3), update=st.integers(0, 20))
def test_many_processes_see_the_pairs_that_one_sees_with_accumulation(processes, accumulation, update) -> None:
    items = [pair(n) for n in range(5)]
    alone = pair_batches(items, accumulation=processes * accumulation)
    expected = [alone.micro_batch(update, micro) for micro in range(processes * accumulation)]
    shared = [
        pair_batches(items, accumulation=accumulation, shard=(rank, processes)).micro_batch(update, micro)
        for micro in range(accumulation)
        for rank in range(processes)
    ]
    assert [(b.prompts, b.chosen.tolist(), r) for b, r in shared] == [
        (b.prompts, b.chosen.tolist(), r) for b, r in expected
    ]


def dropping(share: float, *, kind=PairBatches, size: int = 4, shard=(0, 1), accumulation: int = 1):
    """Which prompts are still there: lengths of 2 or 3, and 0 for the empty one."""
    items = (
        [pair(n) for n in range(40)]
        if kind is PairBatches
        else [Photo(f"p{n}", Picture(Path(f"{n}.png"))) for n in range(40)]
    )
    options = {"batch_size": size, "accumulation": accumulation, "seed": 5, "sharding": Sharding(*shard)}
    return kind(
        items, [], encode, latents, prompt_dropout=share, nothing=lambda: {"length": torch.zeros(1, 1)}, **options
    )


@pytest.mark.parametrize("kind", [PairBatches, PhotoBatches])
def test_a_share_of_the_samples_loses_its_prompt_and_nothing_else(kind) -> None:
    whole, some = dropping(0.0, kind=kind), dropping(0.3, kind=kind)
    lost = 0
    for update in range(250):
        (plain, first), (batch, second) = whole.micro_batch(update, 0), some.micro_batch(update, 0)
        kept = batch.conditioning["length"] != 0
        lost += (~kept).sum().item()
        assert torch.equal(batch.conditioning["length"], plain.conditioning["length"] * kept)
        assert batch.prompts == plain.prompts
        assert torch.equal(batch.weights, plain.weights)
        assert torch.equal(first.normal("noise", (2,)), second.normal("noise", (2,)))
    assert lost / 1000 == pytest.approx(0.3, abs=0.045)  # three standard deviations


def test_all_or_none_of_the_prompts_may_go() -> None:
    for share, stays in ((1.0, False), (1e-9, True)):
        seen = torch.stack([dropping(share).micro_batch(n, 0)[0].conditioning["length"] for n in range(20)])
        assert seen.bool().eq(stays).all()


@given(processes=st.integers(1, 3), accumulation=st.integers(1, 3), update=st.integers(0, 9))
def test_prompts_are_lost_by_sample_not_by_process(processes: int, accumulation: int, update: int) -> None:
    alone = dropping(0.5, size=2, accumulation=processes * accumulation)
    expected = [alone.micro_batch(update, micro)[0].conditioning for micro in range(processes * accumulation)]
    seen = [
        dropping(0.5, size=2, accumulation=accumulation, shard=(rank, processes))
        .micro_batch(update, micro)[0]
        .conditioning
        for micro in range(accumulation)
        for rank in range(processes)
    ]
    assert all(torch.equal(one["length"], other["length"]) for one, other in zip(seen, expected, strict=True))


def test_photos_and_likes_carry_their_weight_and_verdict() -> None:
    photos = [Photo(f"p{n}", Picture(Path(f"{n}.png")), weight=n) for n in range(3)]
    options = {"batch_size": 3, "accumulation": 1, "seed": 0}
    batch, _ = PhotoBatches(photos, [], encode, latents, **options).micro_batch(0, 0)
    assert batch.latents[:, 0].tolist() == batch.weights.tolist() == [float(p[1:]) for p in batch.prompts]
    judged = [Like(f"p{n}", Picture(Path(f"{n}.png")), liked=n == 1) for n in range(3)]
    verdicts, _ = LikeBatches(judged, [], encode, latents, **options).micro_batch(0, 0)
    assert verdicts.liked.tolist() == [prompt == "p1" for prompt in verdicts.prompts]


@pytest.mark.parametrize("kind", ["pairs", "photos", "likes"])
def test_a_placeholder_is_of_its_kind(kind) -> None:
    assert isinstance(placeholder(kind, "p"), {"pairs": Pair, "photos": Photo, "likes": Like}[kind])


# ── latents ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def saved(path: Path, size: tuple[int, int] = (24, 16), seed: int = 0) -> Picture:
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    Image.fromarray(pixels.byte().numpy()).save(path)
    seen = shape(Picture(path))
    assert seen is not None
    return Picture(path, digest=seen.digest)


def test_a_picture_of_the_right_size_is_taken_as_it_is_and_others_are_cut_around_their_middle(tmp_path: Path) -> None:
    exact = saved(tmp_path / "a.png", (16, 16))
    with Image.open(exact.path) as image:
        assert_close(
            fitted(exact, (16, 16)), torch.tensor(list(image.tobytes())).view(16, 16, 3).permute(2, 0, 1) / 255
        )
    wide = Image.new("RGB", (48, 16))
    wide.paste((255, 255, 255), (16, 0, 32, 16))
    wide.save(tmp_path / "b.png")
    assert fitted(Picture(tmp_path / "b.png"), (16, 16)).min() == 1


@pytest.mark.parametrize("on_disk", [False, True])
def test_each_picture_is_encoded_once_and_found_by_its_bytes(tmp_path: Path, on_disk: bool, monkeypatch) -> None:
    base, asked = unet.TinyUnet(), []
    whole = base.encode_images
    monkeypatch.setattr(base, "encode_images", lambda images: asked.append(1) or whole(images))
    first, renamed = saved(tmp_path / "a.png"), saved(tmp_path / "renamed.png")
    other = saved(tmp_path / "other.png", seed=1)
    cache = LatentCache(base, folder=tmp_path / "kept" if on_disk else None)
    cache.prepare([first, other])
    found = cache([renamed, other, first])
    assert found.shape == (3, *base.latent_shape)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert len(asked) == 2
    if on_disk:
        again = LatentCache(SimpleNamespace(encode_images=None), folder=tmp_path / "kept")  # type: ignore[arg-type]
        assert torch.equal(again([first, other]), found[[0, 1]])


def test_encoding_and_decoding_keeps_a_picture_of_the_demo(tmp_path: Path) -> None:
    base = tables.base(Section(name="demo"))
    Image.new("RGB", (64, 64), (200, 60, 30)).save(tmp_path / "a.png")
    picture = Picture(tmp_path / "a.png", digest="x")
    with torch.no_grad():
        shown = base.decode(LatentCache(base)([picture]))[0]
    assert (shown - fitted(picture, (64, 64))).abs().mean() < 0.05


def mask(folder: Path, name: str, size: tuple[int, int], white: tuple[int, int, int, int] | None) -> Picture:
    """A mask with one white rectangle: left, top, right, bottom."""
    image = Image.new("L", size)
    if white:
        image.paste(255, white)
    image.save(folder / name)
    return Picture(folder / name, digest=name)


def test_a_mask_becomes_a_weight_of_mean_one_on_the_latent_grid(tmp_path: Path) -> None:
    """Area: a place that is half white weighs half of one that is white; one without any weighs exactly 0."""
    seen = focus(mask(tmp_path, "a.png", (16, 16), (4, 0, 10, 16)), (4, 4))
    assert_close(seen, torch.tensor([[0, 1, 0.5, 0]] * 4) / 0.375)
    assert seen[:, 0].eq(0).all()
    fine = focus(mask(tmp_path, "one.png", (1600, 1600), (0, 0, 1, 1)), (4, 4))
    assert fine[0, 0] == 16  # one pixel of 160 000 is not rounded away
    assert fine.count_nonzero() == 1


@given(side=st.integers(1, 70), rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_a_white_mask_of_any_size_is_exactly_one_everywhere(side: int, rows: int, columns: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        white = mask(Path(folder), f"{side}.png", (side, side + 1), (0, 0, side, side + 1))
        assert torch.equal(focus(white, (rows, columns)), torch.ones(rows, columns))


def test_a_mask_is_cut_as_its_pictures_and_may_be_left_with_nothing(tmp_path: Path) -> None:
    left = mask(tmp_path, "left.png", (32, 16), (0, 0, 8, 16))  # a square cut leaves columns 8 to 23
    assert torch.equal(focus(left, (4, 4)), torch.zeros(4, 4))
    assert_close(
        focus(mask(tmp_path, "more.png", (32, 16), (0, 0, 16, 16)), (4, 4)), torch.tensor([[2.0, 2, 0, 0]] * 4)
    )


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 2, 4, 4)])
def test_pairs_without_a_mask_count_everywhere_beside_those_with_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    one = mask(tmp_path, "a.png", (16, 16), (0, 0, 8, 16))
    options = {"batch_size": 2, "accumulation": 1, "seed": 5}
    items = [pair(0, mask=one), pair(1)]
    batch, _ = PairBatches(items, [], encode, lambda pictures: torch.zeros(2, *shape), **options).micro_batch(0, 0)
    assert batch.focus.shape == (2, *[1] * (len(shape) - 2), 4, 4)
    masked, plain = (batch.prompts.index(name) for name in ("p0", "p1"))
    assert torch.equal(batch.focus[plain], torch.ones_like(batch.focus[plain]))
    assert torch.equal(batch.focus[masked].squeeze(), torch.tensor([[2.0, 2, 0, 0]] * 4))
    assert batch.focus.expand(2, *shape).mean(dim=tuple(range(1, len(shape) + 1))).tolist() == [
        1,
        1,
    ]  # every frame alike
    unmasked, _ = PairBatches([pair(1)], [], encode, lambda _: torch.zeros(2, *shape), **options).micro_batch(0, 0)
    assert unmasked.focus is None


def test_clips_become_latents_and_short_ones_are_refused(tmp_path: Path) -> None:
    base = tables.base(folders.section("wan"))
    shades = [Image.new("RGB", (32, 16), (20 * n, 0, 0)) for n in range(7)]
    for name, count in (("long", 7), ("short", 3)):
        shades[0].save(tmp_path / f"{name}.webp", save_all=True, append_images=shades[1:count], lossless=True)
    clip = Picture(tmp_path / "long.webp", digest="long")
    assert fitted(clip, (32, 16), base.frames)[:, 0, 0, 0].mul(255).round().tolist() == [0, 20, 40, 60, 80]
    assert LatentCache(base)([clip]).shape == (1, *base.latent_shape)
    with pytest.raises(UsageError, match=r"short.webp` has 3 frames, and the base makes clips of 5"):
        LatentCache(base)([Picture(tmp_path / "short.webp", digest="short")])


def test_the_kept_latents_of_a_base_depend_on_its_vae_and_its_size_alone(tmp_path: Path) -> None:
    def identity(**changes) -> str:
        return tables.base(folders.section("sd15", **changes)).latents_id

    assert identity() == identity(gradient_checkpointing=False)
    assert (
        len(
            {
                identity(),
                identity(width=64),
                identity(dtype="bfloat16"),
                tables.base(folders.section("sdxl")).latents_id,
            }
        )
        == 4
    )
