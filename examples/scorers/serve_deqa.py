"""DeQA-Score behind Palate's scoring protocol. Only its HTTP part was run: the weights were not at hand.

    pip install torch transformers==4.36.1 accelerate sentencepiece pillow numpy        in an environment of its own
    python serve_deqa.py --trust-remote-code --port 8765

Weights and the code that runs them: `zhiyuanyou/DeQA-Score-Mix3` on the Hub, about 16 GB in float16. Loading it runs
that repository's Python, hence the flag. Scores from 1 to 5, higher is better.
"""

from __future__ import annotations

from scorer_http import Pictures, options, serve

MODEL = "zhiyuanyou/DeQA-Score-Mix3"
DESCRIBE = {
    "name": "deqa",
    "version": MODEL,
    "licence": "MIT",
    "range": (1.0, 5.0),
    "needs_text": False,
    "accepts_video": False,
    "max_batch": 8,
}


def main() -> None:
    """Load the model, then serve it."""
    parser = options(__doc__)
    parser.add_argument("--trust-remote-code", action="store_true", required=True)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        MODEL,
        trust_remote_code=arguments.trust_remote_code,
        attn_implementation="eager",
        torch_dtype=torch.float16,
        device_map=arguments.device,
    )

    @torch.no_grad()
    def score(pictures: Pictures, prompts: list[str]) -> dict:
        scores = model.score([frames[0] for frames in pictures.frames()])
        return {"scores": [float(number) for number in scores]}

    serve(DESCRIBE, score, arguments.port)


if __name__ == "__main__":
    main()
