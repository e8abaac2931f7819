"""What a creator owns: recipes, runs, words, prompts, pairs, judgements and LoRA files. Importing it loads no torch."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("palate")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
