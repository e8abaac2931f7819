"""Measure the shipped weights against real pictures; print a table and write figures.json."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from demo_world.build import common, judge, pictures, reward, second_reward, vae
from demo_world.build.contrastive import Towers
from demo_world.build.data import SEED, STYLES, World, load_world
from demo_world.build.painter import Painter, load_vae

STYLE_PAIRS = [(a, b) for place, a in enumerate(STYLES) for b in STYLES[place + 1 :]]
QUALITY_PAIRS = (("sharp", "blurry"), ("sharp", "noisy"), ("bright", "dark"))
BACKGROUNDS = 3  # coloured versions of each (subject, style) picture


def real_pictures(world: World, pairs: Sequence[tuple[int, int]], seed: int) -> tuple[Tensor, list[str | None]]:
    """One picture per pair on a random named background."""
    rng = random.Random(seed)
    colours = [pictures.pick_colour(style, rng, white=0.1) for _, style in pairs]
    sprites = torch.stack([world.sprites[subject, style] for subject, style in pairs])
    return pictures.compose(sprites, [pictures.background(colour, rng) for colour in colours]), colours


def area_under_curve(higher: Tensor, lower: Tensor) -> float:
    """Chance that a value of `higher` exceeds one of `lower`."""
    difference = higher[:, None] - lower[None, :]
    return float((difference > 0).float().mean() + 0.5 * (difference == 0).float().mean())


def prefixed(towers: Towers, prompts: list[str]) -> dict[str, Tensor]:
    """Text vectors [B,D] of '<word>. <prompt>' for every control word; SRP's direction is a difference of two."""
    words = [*STYLES, *dict.fromkeys(word for pair in QUALITY_PAIRS for word in pair)]
    return {word: towers.encode_texts([f"{word}. {prompt}" for prompt in prompts]) for word in words}


def reward_figures(towers: Towers, world: World) -> dict[str, float]:
    """AUC of the relative score on subjects that no training saw, coloured backgrounds; retrieval on unseen pairs."""
    figures: dict[str, float] = {}
    pairs = world.pairs("unseen") * BACKGROUNDS
    images, colours = real_pictures(world, pairs, SEED + 20)
    names = [world.subjects[subject]["name"] for subject, _ in pairs]
    prompts = [
        f"{name} on a {colour} background" if colour else name for name, colour in zip(names, colours, strict=True)
    ]
    styles, seen = torch.tensor([style for _, style in pairs]), towers.encode_images(images)
    meant = prefixed(towers, prompts)
    for words in STYLE_PAIRS:
        scores = (seen * (meant[words[0]] - meant[words[1]])).sum(-1)
        sides = [scores[styles == STYLES.index(word)] for word in words]
        figures[f"auc {words[0]} / {words[1]}"] = area_under_curve(*sides)
        figures[f"same subject {words[0]} / {words[1]}"] = float((sides[0] > sides[1]).float().mean())
    rng, generator = random.Random(SEED + 21), torch.Generator().manual_seed(SEED)
    for words, kind in zip(QUALITY_PAIRS, ("blurry", "noisy", "dark"), strict=True):
        worse = torch.cat([pictures.degrade(image[None], kind, rng, generator) for image in images])
        clean = pictures.degrade(images, "bright", rng, generator) if kind == "dark" else images
        direction = meant[words[0]] - meant[words[1]]
        sides = [(towers.encode_images(batch) * direction).sum(-1) for batch in (clean, worse)]
        figures[f"auc {words[0]} / {words[1]}"] = area_under_curve(*sides)
    return figures | retrieval_figures(towers, world)


def retrieval_figures(towers: Towers, world: World) -> dict[str, float]:
    """Image to text among the held-out (subject, style) pairs."""
    pairs = world.pairs("missing")
    images, _ = real_pictures(world, pairs, SEED + 22)
    texts = [f"{STYLES[style]}. {world.subjects[subject]['name']}" for subject, style in pairs]
    similarity = towers.encode_images(images) @ towers.encode_texts(texts).T
    rank = (similarity > similarity.diagonal()[:, None]).sum(1)
    return {"unseen pairs R@1": float((rank < 1).float().mean()), "unseen pairs R@5": float((rank < 5).float().mean())}


def subject_recall(towers: Towers, images: Tensor, wanted: list[int], names: list[str], style: str | None) -> float:
    """Share of pictures whose own name is among the five nearest of all trained names."""
    texts = [f"{style}. {name}" if style else name for name in names]
    similarity = towers.encode_images(images) @ towers.encode_texts(texts).T
    own = similarity[torch.arange(len(wanted)), wanted]
    return float(((similarity > own[:, None]).sum(1) < 5).float().mean())


def generator_figures(world: World, scorers: dict[str, Towers], count: int = 96) -> tuple[dict[str, float], Tensor]:
    """Generated pictures of trained pairs beside real ones under the same scorers; and the picture grid."""
    painter, classifier = Painter(), judge.load()
    trained = [place for place, subject in enumerate(world.subjects) if subject["split"] == "train"]
    names = [world.subjects[place]["name"] for place in trained]
    figures: dict[str, float] = {}
    rows = []
    for number, style in enumerate(STYLES):
        able = [place for place in trained if style in world.subjects[place]["styles"]]
        chosen = random.Random(SEED + 23).sample(able, count)
        drawn = painter.paint([f"{style}. {world.subjects[place]['name']}" for place in chosen], seed=number)
        white = [[1.0, 1.0, 1.0]] * count
        real = pictures.compose(world.sprites[chosen, number], white)
        wanted = [trained.index(place) for place in chosen]
        for kind, images in (("drawn", drawn), ("real", real)):
            obeyed = judge.judge(classifier, images).argmax(1) == number
            figures[f"{kind} judge {style}"] = float(obeyed.float().mean())
            for scorer, towers in scorers.items():
                recall = subject_recall(towers, images, wanted, names, style)
                figures[f"{kind} {scorer} subject R@5 {style}"] = recall
        rows.append(drawn[:24])
    chosen = random.Random(SEED + 24).sample(trained, 2 * count)
    plain = painter.paint([world.subjects[place]["name"] for place in chosen], seed=9)
    shares = judge.judge(classifier, plain).argmax(1).bincount(minlength=4) / len(chosen)
    figures |= {f"un-styled share {style}": float(share) for style, share in zip(STYLES, shares, strict=True)}
    wanted = [trained.index(place) for place in chosen]
    for scorer, towers in scorers.items():
        figures[f"drawn {scorer} subject R@5 un-styled"] = subject_recall(towers, plain, wanted, names, None)
    rows.append(plain[:24])
    return figures, torch.cat(rows)


def judge_accuracy(world: World) -> float:
    """Accuracy on unseen subjects, three coloured pictures of each pair."""
    pairs = world.pairs("unseen") * BACKGROUNDS
    images, _ = real_pictures(world, pairs, SEED + 25)
    named = judge.judge(judge.load(), images).argmax(1)
    return float((named == torch.tensor([style for _, style in pairs])).float().mean())


def weights_megabytes() -> float:
    """Everything under weights/."""
    return sum(file.stat().st_size for file in common.WEIGHTS.rglob("*") if file.is_file()) / 1e6


@torch.no_grad()
def measure_parts() -> dict[str, float]:
    """Size, autoencoder, judge and both rewards: everything but the generator."""
    world = load_world()
    figures = {"weights MB": weights_megabytes(), "vae PSNR unseen": vae.psnr(load_vae(), world)}
    figures["judge accuracy unseen"] = judge_accuracy(world)
    with common.plain_attention():
        for name, scorer in (("reward", reward), ("second", second_reward)):
            figures |= {f"{name}: {key}": value for key, value in reward_figures(scorer.load(), world).items()}
    return figures


@torch.no_grad()
def measure_generator(count: int = 96) -> dict[str, float]:
    """Figures of drawn pictures; their grid goes to the work folder."""
    with common.plain_attention():
        scorers = {"reward": reward.load(), "second": second_reward.load()}
        figures, grid = generator_figures(load_world(), scorers, count)
    common.WORK.mkdir(exist_ok=True)
    save_image(make_grid(grid, nrow=24, padding=1), common.WORK / "grid.png")
    return figures


def main() -> None:
    """Print the table and write figures.json beside the card."""
    figures = {name: round(value, 4) for name, value in (measure_parts() | measure_generator()).items()}
    for name, value in figures.items():
        print(f"{name:52s} {value:8.3f}")
    common.write_json(common.WORLD / "figures.json", figures)
