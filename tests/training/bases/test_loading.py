"""Weights that cannot be loaded are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.recipe import Section
from training import tables


@pytest.mark.parametrize("name", ["flux2", "hunyuan_dit", "qwen_image"])
def test_a_family_that_diffusers_reads_from_folders_alone_refuses_a_single_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"`model\.safetensors` could not be loaded .* from a folder or the Hub only"):
        tables.base(Section(name=name, settings={"weights": str(path)}))
