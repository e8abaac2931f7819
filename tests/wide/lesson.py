"""`python -m wide.lesson FAMILY FOLDER`: build, train, ask diffusers. A process of its own gives all memory back."""

import gc
import sys
from pathlib import Path

from wide import answers, networks, training


def prepare(family: str, folder: Path) -> None:
    """Everything that ComfyUI is compared with, in FOLDER."""
    networks.write(family, folder)
    for name in training.LORAS:
        gc.collect()
        training.train(family, folder, name)
    gc.collect()
    answers.write(family, folder, [training.loras(folder, name)[0] for name in training.LORAS])


if __name__ == "__main__":
    prepare(sys.argv[1], Path(sys.argv[2]))
