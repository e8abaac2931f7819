"""HPSv3 behind Palate's scoring protocol. Only its HTTP part was run: the weights were not at hand.

    pip install hpsv3        in an environment of its own: it pins transformers 4.45.2
    python serve_hpsv3.py --port 8765

Weights: `MizzenAI/HPSv3` on the Hub, about 17 GB in bfloat16.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from scorer_http import Pictures, options, serve

DESCRIBE = {
    "name": "hpsv3",
    "version": "hpsv3 1.0.0, MizzenAI/HPSv3",
    "licence": "MIT",
    "range": (None, None),
    "needs_text": True,
    "accepts_video": False,
    "max_batch": 8,
}


def main() -> None:
    """Load the model, then serve it."""
    parser = options(__doc__)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()

    from hpsv3 import HPSv3RewardInferencer

    model = HPSv3RewardInferencer(device=arguments.device)

    def score(pictures: Pictures, prompts: list[str]) -> dict:
        with tempfile.TemporaryDirectory() as folder:  # the package reads pictures from files
            paths = [str(Path(folder, f"{number}.png")) for number in range(len(pictures))]
            for path, frames in zip(paths, pictures.frames(), strict=True):
                frames[0].save(path)
            rewards = model.reward(prompts=prompts, image_paths=paths)
        return {"scores": [float(reward[0]) for reward in rewards]}  # the mean; reward[1] is the deviation

    serve(DESCRIBE, score, arguments.port)


if __name__ == "__main__":
    main()
