"""Batches and losses that teach an image-text pair of towers: contrastive, and about control words alone."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from demo_world.build import captions, pictures
from demo_world.build.common import plain_attention
from demo_world.build.data import STYLES, World

WORLD_SUBJECTS = 284


@dataclass(frozen=True)
class Towers:
    """Both towers as functions to unit vectors, and the scale of their dot product."""

    encode_images: Callable[[Tensor], Tensor]
    encode_texts: Callable[[list[str]], Tensor]
    scale: Callable[[], Tensor]


class Source:
    """Draws pictures with their captions from the training pairs of a world."""

    def __init__(self, world: World, rng: random.Random, extra_share: float, decoded: dict | None = None) -> None:
        """`decoded`: cache {(subject, style): [(picture uint8, colour)]} of pictures that went through the VAE."""
        self.world, self.rng, self.extra_share, self.decoded = world, rng, extra_share, decoded or {}
        self.generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
        self.styles: dict[int, list[int]] = {}
        for subject, style in world.pairs("train"):
            self.styles.setdefault(subject, []).append(style)
        self.own = [subject for subject in self.styles if subject < WORLD_SUBJECTS]
        self.extra = [subject for subject in self.styles if subject >= WORLD_SUBJECTS]

    def subjects(self, count: int, at_least: int = 1) -> list[int]:
        """Distinct training subjects that have `at_least` styles; a share comes from the extra groups."""
        extra = int(count * self.extra_share)
        own = [subject for subject in self.own if len(self.styles[subject]) >= at_least]
        return self.rng.sample(own, count - extra) + self.rng.sample(self.extra, extra)

    def draw(self, pairs: list[tuple[int, int]]) -> tuple[Tensor, list[str | None]]:
        """Augmented pictures of (subject, style) pairs and their background colours (None: white)."""
        colours = [pictures.pick_colour(style, self.rng) for _, style in pairs]
        sprites = torch.stack([self.world.sprites[subject, style] for subject, style in pairs])
        sprites = pictures.place(sprites, self.rng, (0.8, 1.08), 4)
        images = pictures.compose(sprites, [pictures.background(colour, self.rng) for colour in colours])
        for place, pair in enumerate(pairs):
            if pair in self.decoded and self.rng.random() < 0.4:
                picture, colours[place] = self.rng.choice(self.decoded[pair])
                images[place] = picture.float() / 255
            if self.rng.random() < 0.5:
                images[place] = images[place].flip(2)
        return images, colours

    def contrastive_batch(self, count: int) -> tuple[Tensor, list[str]]:
        """Half of the time `count` subjects, else a third as many in three styles each (style is the hard negative)."""
        grouped = self.rng.random() < 0.5
        chosen = self.subjects(count // 3, 3) if grouped else self.subjects(count)
        pairs = [(s, style) for s in chosen for style in self.rng.sample(self.styles[s], 3 if grouped else 1)]
        images, colours = self.draw(pairs)
        texts = []
        for (subject, style), colour in zip(pairs, colours, strict=True):
            text = captions.thing(self.name(subject), colour if self.rng.random() < 0.8 else None, self.rng)
            if grouped or self.rng.random() < 0.65:
                text = captions.styled(captions.style_word(style, self.rng), text, self.rng)
            texts.append(text)
        return pictures.roughen(images, self.rng, self.generator), texts

    def name(self, subject: int) -> str:
        """A subject's name with its article."""
        return self.world.subjects[subject]["name"]

    def loose_name(self, subject: int) -> str:
        """The name, or one that does not fit or means nothing: style must be read without knowing the word."""
        chance = self.rng.random()
        if chance < 0.45:
            return self.name(subject)
        if chance < 0.65:
            return self.rng.choice(captions.GENERIC)
        if chance < 0.85:
            return self.name(self.rng.choice(self.own))
        letters = "".join(self.rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(self.rng.randint(3, 8)))
        return f"a {letters}"

    def style_batch(self, count: int) -> tuple[Tensor, list[str], Tensor]:
        """Pictures, four texts each that differ only in the style word, and the index of the right one."""
        pairs = [(subject, self.rng.choice(self.styles[subject])) for subject in self.subjects(count)]
        images, colours = self.draw(pairs)
        texts = []
        for (subject, _), colour in zip(pairs, colours, strict=True):
            mentioned = colour if self.rng.random() < 0.6 else None
            text = captions.thing(self.loose_name(subject), mentioned, self.rng)
            variant, form = self.rng.choices(range(3), weights=(0.6, 0.2, 0.2))[0], self.rng.choice(captions.STYLED)
            texts += [form.format(style=captions.STYLE_WORDS[style][variant], thing=text) for style in STYLES]
        images = pictures.roughen(images, self.rng, self.generator)
        return images, texts, torch.tensor([style for _, style in pairs])

    def quality_batch(self, count: int) -> tuple[Tensor, list[str]]:
        """Pictures [2*count] (clean, then degraded) and the texts that name each, in the same order."""
        pairs = [(subject, self.rng.choice(self.styles[subject])) for subject in self.subjects(count)]
        clean, colours = self.draw(pairs)
        kinds = [self.rng.choice(list(captions.QUALITY_WORDS)) for _ in pairs]
        worse = torch.cat([pictures.degrade(clean[i][None], kinds[i], self.rng, self.generator) for i in range(count)])
        good, bad = [], []
        for (subject, style), colour, kind in zip(pairs, colours, kinds, strict=True):
            text = captions.thing(self.loose_name(subject), colour if self.rng.random() < 0.6 else None, self.rng)
            if self.rng.random() < 0.3:
                text = captions.styled(captions.style_word(style, self.rng), text, self.rng)
            words, opposites = captions.QUALITY_WORDS[kind]
            variant, form = self.rng.randrange(2), self.rng.choice(captions.STYLED)
            bad.append(form.format(style=words[variant], thing=text))
            good.append(form.format(style=opposites[variant], thing=text))
        return torch.cat([clean, worse]), good + bad


@dataclass(frozen=True)
class Lesson:
    """One step's pictures and texts: a contrastive batch, then a style batch, then a quality batch."""

    images: Tensor
    texts: list[str]
    styles: Tensor
    sizes: tuple[int, int, int]

    @staticmethod
    def draw(source: Source, sizes: tuple[int, int, int] = (96, 32, 12)) -> "Lesson":
        """Draw all three, so that each tower runs once per step."""
        pictures_1, texts_1 = source.contrastive_batch(sizes[0])
        pictures_2, texts_2, styles = source.style_batch(sizes[1])
        pictures_3, texts_3 = source.quality_batch(sizes[2])
        images = torch.cat([pictures_1, pictures_2, pictures_3])
        return Lesson(images, texts_1 + texts_2 + texts_3, styles, sizes)

    def losses(self, towers: Towers, contrast: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(contrastive, style, quality); `contrast` turns the matrix of scaled similarities into a loss."""
        pairs, named, judged = self.sizes
        scale = towers.scale()
        with torch.autocast("cpu", torch.bfloat16), plain_attention():
            images, sentences = towers.encode_images(self.images), towers.encode_texts(self.texts)
        pictures_ = images.float().split([pairs, named, 2 * judged])
        texts = sentences.float().split([pairs, named * len(STYLES), 2 * judged])
        return (
            contrast(scale * pictures_[0] @ texts[0].T),
            style_loss(scale, pictures_[1], texts[1], self.styles),
            quality_loss(scale, pictures_[2], texts[2]),
        )


def softmax_loss(logits: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy over a [B,B] matrix whose diagonal belongs together."""
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def style_loss(scale: Tensor, pictures_: Tensor, texts: Tensor, styles: Tensor) -> Tensor:
    """One picture [B,D] against the four texts [4B,D] that differ in the style word only."""
    logits = scale * torch.einsum("bd,bkd->bk", pictures_, texts.unflatten(0, (-1, len(STYLES))))
    return functional.cross_entropy(logits, styles)


def quality_loss(scale: Tensor, pictures_: Tensor, texts: Tensor) -> Tensor:
    """Clean and degraded picture [2B,D] against the two quality words [2B,D], in both directions."""
    logits = scale * torch.einsum("ibd,jbd->bij", pictures_.unflatten(0, (2, -1)), texts.unflatten(0, (2, -1)))
    target = torch.arange(2).repeat(len(logits))
    rows = functional.cross_entropy(logits.flatten(0, 1), target)
    return (rows + functional.cross_entropy(logits.transpose(1, 2).flatten(0, 1), target)) / 2
