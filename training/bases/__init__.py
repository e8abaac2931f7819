"""The table of bases: one model family, one file, one line."""

BASES: dict[str, str] = {
    "demo": "training.bases.demo:Demo",
}
