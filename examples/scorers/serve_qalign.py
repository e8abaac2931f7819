"""Q-Align through pyiqa behind Palate's scoring protocol. Only its HTTP part was run: the weights were not at hand.

    pip install pyiqa        PolyForm-Noncommercial; in an environment of its own
    python serve_qalign.py --task quality --port 8765

Weights: `q-future/one-align` on the Hub, about 16 GB in float16. Scores from 1 to 5, higher is better.
"""

from __future__ import annotations

from scorer_http import Pictures, options, serve

DESCRIBE = {
    "name": "qalign",
    "version": "pyiqa qalign, q-future/one-align",
    "licence": "code PolyForm-Noncommercial, weights S-Lab non-commercial",
    "range": (1.0, 5.0),
    "needs_text": False,
    "accepts_video": False,
    "max_batch": 8,
}


def main() -> None:
    """Load the model, then serve it."""
    parser = options(__doc__)
    parser.add_argument("--task", choices=["quality", "aesthetic"], default="quality")
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()

    import pyiqa
    import torch

    model = pyiqa.create_metric("qalign", device=arguments.device)

    @torch.no_grad()
    def score(pictures: Pictures, prompts: list[str]) -> dict:
        images = torch.from_numpy(pictures.array().copy()).to(arguments.device)
        return {"scores": [float(model(image[None], task_=arguments.task)) for image in images]}  # one at a time

    serve({**DESCRIBE, "name": f"qalign-{arguments.task}"}, score, arguments.port)


if __name__ == "__main__":
    main()
