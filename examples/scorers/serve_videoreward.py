"""VideoReward (VideoAlign) behind Palate's scoring protocol. Only its HTTP part was run: the weights were not at hand.

    git clone the VideoAlign repository, install its requirements in an environment of its own (transformers 4.45.2),
    download `KwaiVGI/VideoReward` into a folder, then
    python serve_videoreward.py --repository VideoAlign --checkpoint FOLDER --fps 16 --port 8765

Dimensions: visual_quality, motion_quality, text_alignment, each normalised; the score is their sum.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from scorer_http import Pictures, options, serve

DESCRIBE = {
    "name": "videoreward",
    "version": "KwaiVGI/VideoReward",
    "licence": "MIT",
    "range": (None, None),
    "needs_text": True,
    "accepts_video": True,
    "max_batch": 2,
    "dimensions": ("visual_quality", "motion_quality", "text_alignment"),
}
KEYS = {"visual_quality": "VQ", "motion_quality": "MQ", "text_alignment": "TA"}


def main() -> None:
    """Load the model, then serve it."""
    parser = options(__doc__)
    parser.add_argument("--repository", required=True, help="folder of the cloned repository")
    parser.add_argument("--checkpoint", required=True, help="folder of the downloaded weights")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--fps", type=float, default=16, help="frames per second of the videos that are sent")
    arguments = parser.parse_args()

    sys.path.insert(0, arguments.repository)  # it is no package
    import torch
    from inference import VideoVLMRewardInference
    from torchvision.io import write_video

    model = VideoVLMRewardInference(arguments.checkpoint, device=arguments.device, dtype=torch.bfloat16)

    @torch.no_grad()
    def score(pictures: Pictures, prompts: list[str]) -> dict:
        pixels = torch.from_numpy((pictures.array() * 255).round().clip(0, 255).astype("uint8"))
        videos = pixels.reshape(len(pictures), -1, *pictures.shape[-3:]).permute(0, 1, 3, 4, 2)
        with tempfile.TemporaryDirectory() as folder:  # the model reads videos from files
            paths = [str(Path(folder, f"{number}.mp4")) for number in range(len(pictures))]
            for path, video in zip(paths, videos, strict=True):
                write_video(path, video, fps=arguments.fps, options={"crf": "0"})
            rewards = model.reward(paths, prompts, use_norm=True)
        dimensions = {name: [reward[key] for reward in rewards] for name, key in KEYS.items()}
        return {"scores": [reward["Overall"] for reward in rewards], "dimensions": dimensions}

    serve(DESCRIBE, score, arguments.port)


if __name__ == "__main__":
    main()
