"""How well the demo's two rewards tell the library's pairs apart, on pictures that the embedded model draws.

    python benchmarks/word_library.py            # print what is measured beside what ships
    python benchmarks/word_library.py --write    # and ship it

Per pair 24 training prompts are drawn under each word, 8 steps, the same noise under both; the figure is the AUC of
score(positive) - score(negative). The pairs for full-size bases say nothing here and stay unmeasured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from toolkit import atomic, words
from toolkit.bench.page import markdown
from toolkit.word_scorer import WordScorer

LIBRARY = Path(__file__).resolve().parents[1] / "comfy_nodes" / "words.json"
REWARDS = ("demo", "demo_second")
FOR_FULL_SIZE = ("realistic photo", "natural lighting")  # words that the embedded model never met


def main() -> None:
    """Measure all in one question per reward."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the figures into the library")
    options = parser.parse_args()
    library = [entry for entry in words.library() if entry.positive not in FOR_FULL_SIZE]
    scorer = WordScorer()
    pairs = [entry.pair() for entry in library]
    found = {reward: scorer.separations(pairs, base=words.MEASURED_ON, reward=reward) for reward in REWARDS}
    scorer.close()
    measured = {
        str(pair): {reward: round(found[reward][place].value, 3) for reward in REWARDS}
        for place, pair in enumerate(pairs)
    }
    rows = [["pair", *(f"{reward}, {when}" for reward in REWARDS for when in ("ships", "now"))]]
    for entry in library:
        now = measured[str(entry.pair())]
        figures = [str(value) for r in REWARDS for value in (entry.separation.get(r, "unmeasured"), now[r])]
        rows.append([str(entry.pair()), *figures])
    print(markdown(rows))
    if options.write:
        atomic.write_file(LIBRARY, _content(measured))


def _content(measured: dict[str, dict[str, float]]) -> str:
    """The library's file, one pair a line, with these figures in it."""
    content = json.loads(LIBRARY.read_text(encoding="utf-8"))
    lines = []
    for entry in content["pairs"]:
        entry["separation"] = measured.get(f"{entry['positive']} / {entry['negative']}", {})
        lines.append("  " + json.dumps(entry, ensure_ascii=False))
    return '{\n "pairs": [\n' + ",\n".join(lines) + "\n ]\n}\n"


if __name__ == "__main__":
    main()
