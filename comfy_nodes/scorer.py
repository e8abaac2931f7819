"""A picture tower and a text tower of ComfyUI's as a dot-product reward, as Palate trains by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import comfy.model_management
import comfy.sd1_clip
import comfy.utils
import torch
from torch import Tensor
from torch.nn import functional

from .header import caption
from .logic import pictures, projection
from .logic.hostile import EMBEDDING
from .logic.ranking import Score


@dataclass(frozen=True)
class Scorer:
    """score(picture, text) = scale · cosine of both towers' features. Both are ComfyUI's and in its memory's care.

    vision: a CLIP_VISION; clip: a CLIP; geometry: how pictures become squares, see `logic.pictures`; note: what is
    doubtful about it, for every table.
    """

    name: str
    vision: Any
    clip: Any
    geometry: str = "crop"
    scale: float = 1.0
    note: str = ""

    def picture(self, image: Tensor) -> Tensor:
        """[1, H, W, C] in [0, 1] → unit vector [D]. Raises ValueError when this tower gives no such vector."""
        size = getattr(self.vision, "image_size", 224)
        features = self.vision.encode_image(pictures.square(image, size, self.geometry))["image_embeds"]
        if features.ndim != 2:
            raise ValueError("This CLIP_VISION has no text part that belongs to it. Load the picture part of a CLIP.")
        return functional.normalize(features.float().cpu(), dim=-1)[0]

    def text(self, text: str) -> tuple[Tensor, bool]:
        """Unit vector [D], and whether the text's end was cut off. Raises ValueError for a CLIP that cannot score."""
        tokens = self.clip.tokenize(plain(text), disable_weights=True)
        # ComfyUI projects for some text encoders and not for others; so the vector before, and its projection here.
        _, pooled = self.clip.encode_from_tokens(tokens, return_pooled="unprojected")
        weight = None if pooled is None else self._projection(pooled.shape[-1])
        if pooled is None or weight is None:
            raise ValueError("This CLIP cannot score: it has no text projection. Load the text part of a whole CLIP.")
        if not projection.is_trained(weight):
            raise ValueError(
                "This CLIP cannot score: its text projection is missing, as in every SD 1.5 checkpoint. "
                "Load the text part of a whole CLIP with Load CLIP, or use Load Preference Model."
            )
        features = functional.linear(pooled[:1].float().cpu(), weight.float().cpu())
        return functional.normalize(features, dim=-1)[0], any(len(rows) > 1 for rows in tokens.values())

    def _projection(self, width: int) -> Tensor | None:
        """[D, width] of the text encoder whose vector this is."""
        for name, module in self.clip.cond_stage_model.named_modules():
            if name.endswith("text_projection") and module.weight.shape[-1] == width:
                return module.weight.detach()
        return None


def plain(text: str) -> str:
    """What training would read of a text for ComfyUI: weights taken off, parentheses plain, no embedding opened."""
    parts = comfy.sd1_clip.token_weights(comfy.sd1_clip.escape_important(text), 1.0)
    whole = comfy.sd1_clip.unescape_important("".join(part for part, _ in parts))
    return whole.replace(EMBEDDING, EMBEDDING.replace(":", " :"))  # the same tokens to a CLIP


def score(
    scorer: Scorer, batches: Sequence[Tensor], prompts: Sequence[str], positive: str, negative: str
) -> tuple[list[Score], list[str]]:
    """Every picture's score, in the order they came, and notes for the screen.

    batches: of [B, H, W, C] each; prompts: one for all, or one a picture; the words: both, or none.
    Raises ValueError with a sentence for anything else; an interruption passes through.
    """
    images = [batch[place : place + 1] for batch in batches for place in range(len(batch))]
    if not images:
        raise ValueError("There are no pictures. Connect at least one.")
    if len(prompts) not in (1, len(images)):
        raise ValueError(f"There are {len(prompts)} prompts and {len(images)} pictures. Give one prompt, or one each.")
    if bool(positive.strip()) != bool(negative.strip()):
        raise ValueError("Give both words, or none: the score is the positive word's minus the negative word's.")
    words = (positive.strip(), negative.strip()) if positive.strip() else ()
    bar = comfy.utils.ProgressBar(len(images))
    known = lru_cache(maxsize=None)(scorer.text)
    scores, cut = [], False
    for image, prompt in zip(images, prompts if len(prompts) > 1 else [*prompts] * len(images), strict=True):
        comfy.model_management.throw_exception_if_processing_interrupted()
        texts = [known(text) for text in (prompt, *(caption(word, prompt) for word in words))]
        cut |= any(too_long for _, too_long in texts)
        cosines = torch.stack([text for text, _ in texts]) @ _fitting(scorer.picture(image), texts)
        values = (scorer.scale * cosines).tolist()
        relative = values[1] - values[2] if words else None
        scores.append(Score(values[0], relative, (image.shape[2], image.shape[1])))
        bar.update(1)
    notes = [scorer.note, "A text is longer than 77 tokens: its end was not scored." if cut else ""]
    return scores, [note for note in notes if note]


def examined(vision: Any, clip: Any) -> Scorer:
    """Two separate parts as a scorer, after a look at whether they know plain colours by name. Raises ValueError."""
    scorer = Scorer("CLIP pair", vision, clip)
    texts = [scorer.text(f"a plain {name} picture") for name in projection.COLOURS]
    seen = [
        _fitting(scorer.picture(torch.tensor(colour).float().expand(1, 224, 224, 3)), texts)
        for colour in projection.COLOURS.values()
    ]
    cosines = torch.stack(seen) @ torch.stack([text for text, _ in texts]).T
    return Scorer("CLIP pair", vision, clip, note=projection.verdict(projection.told_apart(cosines)))


def _fitting(picture: Tensor, texts: Sequence[tuple[Tensor, bool]]) -> Tensor:
    """The picture's vector. Raises ValueError when the texts' are of another length."""
    if picture.shape != texts[0][0].shape:
        raise ValueError(
            f"The picture part gives {len(picture)} numbers, the text part {len(texts[0][0])}: they are of two models. "
            "Load both parts of one CLIP."
        )
    return picture
