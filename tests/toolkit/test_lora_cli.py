"""The LoRA commands as a user types them: their files, their words, their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

Call = Callable[..., tuple[int, str, str]]
Q = "transformer.transformer_blocks.0.attn.to_q"
WAN = "transformer.blocks.0.attn1.to_q"


def lora(name: str, stem: str = WAN, family: str = "wan2.1", *, scale: float = 1.0) -> None:
    tensors = {f"{stem}.lora_A.weight": torch.ones(1, 4), f"{stem}.lora_B.weight": scale * torch.ones(4, 1)}
    save_file(tensors, name, {"ss_base_model_version": family})


def test_convert_then_verify(call: Call, tmp_path: Path) -> None:
    lora("taste.safetensors")
    code, out, err = call("verify", "taste.safetensors")
    what, action = err.splitlines()
    assert (code, what) == (1, "palate: `taste.safetensors` would not play as it was trained.")
    assert action == "  palate convert taste.safetensors --to comfyui"
    assert f"ComfyUI: 0 of 1 layers load\n  not read: {WAN}\n" in out
    code, out, _ = call("convert", "taste.safetensors", "--to", "comfyui", "--dtype", "float16")
    assert (code, out.splitlines()[0]) == (0, "Wan for ComfyUI: taste.comfyui.safetensors")
    tensors = load_file(tmp_path / "taste.comfyui.safetensors")
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight": torch.float16,
        "diffusion_model.blocks.0.self_attn.q.lora_B.weight": torch.float16,
    }
    code, out, _ = call("verify", "taste.comfyui.safetensors")
    assert (code, out.splitlines()[-1]) == (0, "Everything loads.")
    assert call("verify", "taste.safetensors", "--loader", "diffusers")[0] == 0


def test_inspect_in_words_and_in_json(call: Call) -> None:
    lora("taste.safetensors")
    code, out, _ = call("inspect", "taste.safetensors")
    assert code == 0
    for words in ("wan", "diffusers, 1 layers in 2 tensors", "1 (1 layers)", "blocks.0", "none recorded"):
        assert words in out
    seen = json.loads(call("inspect", "taste.safetensors", "--json")[1])
    assert (seen["family"], seen["ranks"], seen["norm"]) == ("wan", {"1": 1}, 4.0)


def test_merge_reads_strengths(call: Call, tmp_path: Path) -> None:
    lora("a.safetensors")
    lora("b.safetensors", scale=2.0)
    code, out, _ = call("merge", "a.safetensors:0.5", "b.safetensors", "--output", "m.safetensors")
    assert (code, out.splitlines()[0]) == (0, "LoRA: m.safetensors (exact)")
    merged = load_file(tmp_path / "m.safetensors")
    assert torch.equal(merged[f"{WAN}.lora_B.weight"] @ merged[f"{WAN}.lora_A.weight"], torch.full((4, 4), 2.5))
    assert "the rank costs 0.00% of the change" in call(
        "merge", "a.safetensors", "b.safetensors", "--output", "s.safetensors", "--rank", "1"
    )[1]  # fmt: skip


def test_extract_then_merge_into_the_base(call: Call, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    base = {f"blocks.{n}.attn1.to_q.weight": torch.randn(8, 8, generator=generator) for n in range(2)}
    tuned = {name: weight + 0.1 * torch.ones(8, 8) for name, weight in base.items()}
    save_file(base, "base.safetensors")
    save_file(tuned, "tuned.safetensors")
    code, out, _ = call(
        "extract",
        "tuned.safetensors",
        "base.safetensors",
        "--rank",
        "1",
        "--family",
        "wan",
        "--output",
        "x.safetensors",
    )
    assert code == 0
    assert "2 layers of Wan, rank 1, total error 0.00%" in out
    code, out, _ = call("merge", "x.safetensors", "--into", "base.safetensors", "--output", "again.safetensors")
    assert (code, out) == (0, "2 layers changed: again.safetensors\n")
    again = load_file(tmp_path / "again.safetensors")
    assert all(torch.allclose(again[name], weight, atol=1e-5) for name, weight in tuned.items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "a.safetensors", "--to", "kohya"], "is not one of 'diffusers', 'comfyui'"),
        (["convert", "a.safetensors", "--to", "comfyui", "--output", "a.safetensors"], "would be written over itself"),
        (["convert", "a.safetensors", "--to", "comfyui", "--family", "flux"], "is not a LoRA for FLUX.1"),
        (["convert", "gone.safetensors", "--to", "comfyui"], "`gone.safetensors` is not a readable safetensors file"),
        (["merge", "a.safetensors", "--into", "b", "--rank", "2", "--output", "m.safetensors"], "has no rank"),
        (["merge", "a.safetensors", "--output", "a.safetensors"], "would be written over itself"),
        (["extract", "a", "b", "--output", "x.safetensors"], "needs either a rank or an energy"),
    ],
)
def test_wrong_use_is_exit_code_2_and_one_sentence(call: Call, arguments: list[str], words: str) -> None:
    lora("a.safetensors")
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
