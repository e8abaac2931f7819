"""UnifiedReward behind Palate's scoring protocol. Run against a stand-in endpoint only: the weights were not at hand.

    vllm serve CodeGoat24/UnifiedReward-2.0-qwen3vl-8b --served-model-name UnifiedReward --port 8000
    python serve_unifiedreward.py --endpoint http://127.0.0.1:8000/v1 --port 8765

A generative judge: it writes an assessment that ends in "Final Score: 1 to 5", and the number is read from the text.
Published numbers belong to the published question; put it into a file with {prompt} in it: --question FILE.
"""

from __future__ import annotations

import base64
import io
import json
import re
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scorer_http import Pictures, Refused, options, serve

DESCRIBE = {
    "name": "unifiedreward",
    "version": "UnifiedReward, pointwise",
    "licence": "MIT",
    "range": (1.0, 5.0),
    "needs_text": True,
    "accepts_video": True,  # the frames are sent as pictures in their order
    "max_batch": 16,
}
QUESTION = (
    "The picture was generated from this caption: [{prompt}]\n"
    "Judge how well it shows what the caption says (objects, attributes, relations) and how good it looks (clarity, "
    "detail, colour, composition). Explain briefly, then end with a line `Final Score: N`, N from 1 to 5."
)
ANSWER = re.compile(r"Final Score\W*([1-5](?:\.\d+)?)(?!\d)", re.IGNORECASE)
ATTEMPTS = 4


def read_score(text: str) -> float | None:
    """The last final score in an assessment, None where there is none from 1 to 5."""
    found = ANSWER.findall(text)
    return float(found[-1]) if found and float(found[-1]) <= 5 else None


def ask(endpoint: str, model: str, frames: list[Any], question: str) -> float:
    """One assessment. Tries again after an error of the line or an answer without a number, a little less fixed."""
    pictures = [{"type": "image_url", "image_url": {"url": as_data(frame)}} for frame in frames]
    content = [*pictures, {"type": "text", "text": question}]
    trouble = ""
    for attempt in range(ATTEMPTS):
        asked = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0.3 * (attempt > 0),
            "max_tokens": 2048,
        }
        request = urllib.request.Request(
            f"{endpoint}/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as reply:
                text = json.load(reply)["choices"][0]["message"]["content"]
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            trouble = str(error)
            time.sleep(2**attempt)
            continue
        score = read_score(text)
        if score is not None:
            return score
        trouble = f"no final score in {text[-80:]!r}"
    raise Refused(f"The judge at {endpoint} gave no score in {ATTEMPTS} attempts: {trouble}.")


def as_data(frame: Any) -> str:
    """A PIL picture as a data address, without loss."""
    buffer = io.BytesIO()
    frame.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    """Serve; the model itself runs behind the endpoint."""
    parser = options(__doc__)
    parser.add_argument("--endpoint", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", default="UnifiedReward")
    parser.add_argument("--question", help="file with the question, {prompt} in it")
    arguments = parser.parse_args()
    question = Path(arguments.question).read_text(encoding="utf-8") if arguments.question else QUESTION

    def one(frames: list[Any], prompt: str) -> float:
        return ask(arguments.endpoint, arguments.model, frames, question.replace("{prompt}", prompt))

    def score(pictures: Pictures, prompts: list[str]) -> dict:
        with ThreadPoolExecutor(len(prompts)) as threads:
            return {"scores": list(threads.map(one, pictures.frames(), prompts))}

    serve(DESCRIBE, score, arguments.port)


if __name__ == "__main__":
    main()
