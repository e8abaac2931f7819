"""Where weights come from, and one sentence for each way in which they can fail to."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from toolkit.errors import UsageError
from training import sources

CONTENT = b"weights of somebody"
TOKEN = "hf_" + "secret" * 5


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.arange(2.0)}


class Hub(BaseHTTPRequestHandler):
    """A Hub on this machine: the owner's name says how it answers, as the real one does."""

    ANSWERS: ClassVar = {
        "gated": (401, "GatedRepo"), "forbidden": (403, "GatedRepo"), "missing": (404, "RepoNotFound"),
        "private": (401, "RepoNotFound"),
    }  # fmt: skip

    def _answer(self, body: bool) -> None:
        owner, _, _, revision, name = self.path.strip("/").split("/")
        if body and owner == "failing":
            self.send_error(418)
            return
        status, code = self.ANSWERS.get(owner, (200, ""))
        if status == 200 and revision == "nowhere":
            status, code = 404, "RevisionNotFound"
        elif status == 200 and name != "second.bin":
            status, code = 404, "EntryNotFound"
        self.send_response(status)
        self.send_header("X-Repo-Commit", "a" * 40)
        if code:
            self.send_header("X-Error-Code", code)
        if status == 200:
            self.send_header("ETag", f'"{hashlib.sha256(CONTENT).hexdigest()}"')
        self.send_header("Content-Length", str(len(CONTENT) if status == 200 else 0))
        self.end_headers()
        if body and status == 200:
            self.wfile.write(CONTENT[:5] if owner == "breaking" else CONTENT)
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """huggingface_hub's real client against that Hub, with a token."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield
    server.shutdown()
    server.server_close()


def refusal(source: str, *names: str) -> str:
    with pytest.raises(UsageError) as caught:
        sources.locate(source, *names)
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def test_a_file_is_itself_and_a_folder_gives_the_first_name_it_has(tmp_path: Path) -> None:
    file = tmp_path / "second.bin"
    file.write_bytes(CONTENT)
    assert sources.locate(str(file), "anything") == file
    assert sources.locate(str(tmp_path), "first.bin", "second.bin") == file
    assert sources.locate_folder(str(tmp_path), ["*"]) == tmp_path


def test_a_folder_without_the_file_is_named_and_so_is_a_half_finished_download(tmp_path: Path) -> None:
    assert f"The folder `{tmp_path.name}` has no file `model.safetensors`." in refusal(
        str(tmp_path), "model.safetensors"
    )
    (tmp_path / "model.safetensors.part").touch()
    assert "Its download is not finished: `model.safetensors.part`." in refusal(str(tmp_path), "model.safetensors")


@pytest.mark.parametrize("source", ["no/such/file.pt", "./nothing", "nothing", "a/b/c", "../x/y"])
def test_what_is_neither_here_nor_a_hub_id_is_refused(source: str) -> None:
    assert f"There is no file or folder `{source}`, and it is no Hub id either." in refusal(source, "x")


@pytest.mark.usefixtures("hub")
def test_a_hub_id_is_downloaded_and_the_second_name_will_do() -> None:
    path = sources.locate("someone/thing", "first.bin", "second.bin")
    assert path.read_bytes() == CONTENT
    assert sources.locate("someone/thing@main", "second.bin") == path


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gated/thing", "`gated/thing` needs its licence accepted once, and a token. 1) Open the model page"),
        ("forbidden/thing", "`forbidden/thing` needs its licence accepted once, and a token."),
        ("missing/thing", "There is no repository `missing/thing`, or your token cannot see it."),
        ("private/thing", "There is no repository `private/thing`, or your token cannot see it."),
        ("someone/thing@nowhere", "`someone/thing@nowhere` names a revision that the repository does not have."),
        ("someone/thing", "The repository `someone/thing` has no file `model.safetensors`."),
    ],
)
def test_what_the_hub_refuses_is_said_in_words(source: str, words: str) -> None:
    assert words in refusal(source, "model.safetensors")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("failing/thing", "The Hub answered 418 for `failing/thing`. Try again later."),
        pytest.param(
            "breaking/thing",
            "The download of `breaking/thing` broke off. Start again: it goes on where it stopped.",
            marks=pytest.mark.slow,  # the client waits before it tries again
        ),
    ],
)
def test_a_download_that_fails_half_way_is_said_in_words(source: str, words: str) -> None:
    assert refusal(source, "second.bin") == words


def test_offline_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    said = refusal("someone/thing", "second.bin")
    assert "`someone/thing` is not on this computer, and the Hub cannot be reached. HF_HUB_OFFLINE=1 is set." in said
    with pytest.raises(UsageError, match="is not on this computer"):
        sources.locate_folder("someone/thing", ["*.json"])


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
@pytest.mark.parametrize("nested", [False, True])
def test_weights_come_back_as_they_were(name: str, nested: bool, weights: dict, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "w.safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights, "epoch": 3} if nested else weights, path)
    read = sources.read_weights(path)
    assert set(read) == set(weights)
    assert all(torch.equal(read[key], weights[key]) for key in weights)


def test_the_pickles_of_old_torch_are_read_too(weights: dict, tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(sources.read_weights(tmp_path / "old.pth")["bias"], weights["bias"])


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("kept", [0, 5, 60, -7])
def test_a_file_that_is_cut_short_is_refused(name: str, kept: int, weights: dict, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(weights, path) if name == "w.safetensors" else torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UsageError, match=rf"`{name}` (cannot be read as weights|holds more than tensors)"):
        sources.read_weights(path)


class Malicious:
    """What a pickle with code in it looks like."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_in_it_is_not_run(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if zipped:
        torch.save({"state_dict": {"weight": Malicious()}}, "bad.pt")
    else:
        Path("bad.pt").write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(UsageError, match=r"`bad\.pt` holds more than tensors and was not opened\."):
        sources.read_weights(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.incomplete", b"", "`w.incomplete` is a half-finished download"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        ("w.safetensors", b"<!doctype html><html>Sign in</html>", "cannot be read as weights"),
    ],
)
def test_what_only_looks_like_weights_is_refused(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        sources.read_weights(tmp_path / name)


def test_a_file_without_named_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(UsageError, match=r"`list\.pt` does not hold named tensors"):
        sources.read_weights(tmp_path / "list.pt")


class Affine(nn.Module):
    """One layer, a buffer that is saved and one that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("computed", torch.arange(4), persistent=False)


def named(weights: dict, prefix: str = "layer.") -> dict:
    return {prefix + name: tensor for name, tensor in weights.items()}


def test_a_module_is_filled_frozen_and_its_computed_buffers_are_real(weights: dict) -> None:
    module = sources.fill(Affine, {**named(weights), "other.x": torch.ones(1)}, Path("w.pt"), unused=["other."])
    assert torch.equal(module.layer.weight, weights["weight"])
    assert torch.equal(module.computed, torch.arange(4))
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_prefix_of_the_file_is_taken_off(weights: dict) -> None:
    module = sources.fill(lambda: nn.Linear(3, 2), named(weights, "model.head."), Path("w.pt"), prefix="model.head.")
    assert torch.equal(module.bias, weights["bias"])


def test_whatever_does_not_fit_is_named(weights: dict) -> None:
    wrong = {"model.weight": torch.ones(2, 4), "model.scale": torch.ones(1)}
    with pytest.raises(UsageError) as caught:
        sources.fill(lambda: nn.Linear(3, 2), wrong, Path("w.pt"), prefix="model.")
    assert (
        "`w.pt` holds another model: 1 names missing, first `model.bias`; 1 names unknown, first `model.scale`; "
        "1 names of another size, first `model.weight`."
    ) in str(caught.value)
