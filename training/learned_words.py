"""Words that a reward learned: token embeddings found by training, read as if they stood in its vocabulary.

One file holds them for one or several rewards, `<reward>/<word>` [tokens, D] each; its header says what they are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from toolkit.errors import UsageError
from training import described

FILLER = "*"  # stands where the learned vectors go: one token in every vocabulary
KIND = "learned_words"

Words = Mapping[str, Tensor]


class Reader:
    """Puts vectors in the place of fillers, where a text encoder looks its tokens up. Knows no scorer by name."""

    def __init__(self, scorer: nn.Module, text_features: Callable[[Sequence[str]], Tensor]) -> None:
        """scorer: whose largest embedding is that of its tokens. Raises UsageError where a filler is no token."""
        tables = [module for module in scorer.modules() if isinstance(module, nn.Embedding)]
        self.embedding = max(tables, key=lambda table: table.num_embeddings)
        self.text_features = text_features
        few, more = (self._ids(FILLER + f" {FILLER}" * count) for count in (2, 3))
        grown = [number for number in few.unique().tolist() if (more == number).sum() - (few == number).sum() == 1]
        if len(grown) != 1:
            raise UsageError(f"This reward's vocabulary has no token `{FILLER}`, so it cannot learn words.")
        self.filler: int = grown[0]

    def features(self, texts: Sequence[str], word: str, vectors: Tensor) -> Tensor:
        """Of texts that name `word`, with gradient to its vectors [tokens, D]; [B, D]."""
        spoken = f"{FILLER} " * len(vectors)  # apart from what follows too: `*.` would be another token
        with self._speaking(vectors):
            return self.text_features([text.replace(word, spoken, 1) for text in texts])

    @contextmanager
    def _speaking(self, vectors: Tensor) -> Iterator[None]:
        def replace(_: nn.Module, ids: tuple[Tensor], known: Tensor) -> Tensor:
            is_filler = ids[0] == self.filler
            place = is_filler.cumsum(dim=-1) * is_filler  # 1, 2, … at fillers, 0 elsewhere
            learned = vectors.to(known)[place.clamp(1, len(vectors)) - 1]
            return torch.where(((place > 0) & (place <= len(vectors)))[..., None], learned, known)

        handle = self.embedding.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def _ids(self, text: str) -> Tensor:
        seen: list[Tensor] = []
        handle = self.embedding.register_forward_pre_hook(lambda _, ids: seen.append(ids[0]))
        try:
            self.text_features([text])
        finally:
            handle.remove()
        return torch.cat([ids.flatten() for ids in seen])


def save(path: Path, words: Mapping[str, Words], facts: Mapping[str, Any]) -> None:
    """words: reward → word → vectors. Raises OSError."""
    described.save(path, {f"{r}/{w}": v.float() for r, of in words.items() for w, v in of.items()}, KIND, facts)


def read(path: str, reward: str) -> dict[str, Tensor]:
    """The words of one reward. Raises UsageError when the file is not there or holds none for it."""
    file = Path(path).expanduser()
    if described.about(file, KIND) is None:
        raise UsageError(
            f"There are no learned words in `{path}`.",
            action="Make them with `palate words learn`, and check the path.",
        )
    tensors = load_file(file)
    found = {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.partition("/")[0] == reward}
    if not found:
        known = sorted({name.partition("/")[0] for name in tensors})
        raise UsageError(
            f"`{file.name}` holds words for {', '.join(f'`{name}`' for name in known)}, not for `{reward}`.",
            cause="Words are learned for one reward's text encoder, and the validation scorer reads them too.",
            action=f"Learn them for it as well: `palate words learn … --reward {reward}`.",
        )
    return found
