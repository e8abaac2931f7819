"""Where weights come from: a Hub id, a folder or a file becomes a local path, tensors, and a module that holds them.

Hub ids may carry a revision: `owner/name@commit`. Tokens and offline mode are huggingface_hub's own (`hf auth login`,
HF_HUB_OFFLINE=1); nothing here reads or shows them.
"""

from __future__ import annotations

import contextlib
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import huggingface_hub
import torch
from accelerate import init_empty_weights
from huggingface_hub import errors
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from toolkit.errors import UsageError
from training import blueprint

HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")
LFS_POINTER = b"version https://git-lfs"
UNFINISHED = (".incomplete", ".part", ".crdownload", ".tmp")

Module = TypeVar("Module", bound=nn.Module)
Found = TypeVar("Found")


def locate(source: str, *names: str) -> Path:
    """The local path of one file: `source` itself, or the first of `names` in that folder or Hub repository.

    Downloads what is not in the cache yet. Raises UsageError when it is nowhere, gated, private or unreachable.
    """
    here = Path(source).expanduser()
    if here.is_file():
        return here
    if here.is_dir():
        return _in_folder(here, names)
    repo, revision = repository(source)
    return _explained(source, names[0], lambda: _first_of(names, repo, revision))


def locate_folder(source: str, patterns: Sequence[str]) -> Path:
    """A local folder: `source` itself, or the files of that Hub repository whose names match. Raises UsageError."""
    here = Path(source).expanduser()
    if here.is_dir():
        return here
    repo, revision = repository(source)
    fetch = huggingface_hub.snapshot_download
    found = _explained(source, "", lambda: fetch(repo, revision=revision, allow_patterns=list(patterns)))
    return Path(found)


def repository(source: str) -> tuple[str, str | None]:
    """A Hub id and its revision, if it names one. Raises UsageError for anything else."""
    matched = HUB_ID.fullmatch(source)
    if matched is None:
        raise UsageError(
            f"There is no file or folder `{source}`, and it is no Hub id either.",
            action="A Hub id looks like `owner/name`.",
        )
    return matched["repo"], matched["revision"]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name → tensor on the CPU, mapped from disk where possible; a `state_dict` inside is unwrapped.

    Raises UsageError for a file that is cut short, holds code, or is no weights file at all.
    """
    _refuse_unfinished(path)
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except pickle.UnpicklingError:
        raise UsageError(
            f"`{path.name}` holds more than tensors and was not opened.",
            cause="A pickle can run code when it is read.",
            action="Use the .safetensors file of the same model.",
        ) from None
    except (SafetensorError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise UsageError(
            f"`{path.name}` cannot be read as weights.",
            cause="It is damaged, or its download ended early.",
            action="Delete it and download it again.",
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"`{path.name}` does not hold named tensors.", action="Give the file with the weights.")
    return dict(content)


def load(make: Callable[[], Module], source: str, *names: str, prefix: str = "", unused: Sequence[str] = ()) -> Module:
    """A frozen module with the weights of the file `locate` finds; inside `blueprint.weightless` it has none.

    Raises UsageError as `locate`, `read_weights` and `fill` do.
    """
    if blueprint.is_weightless():
        return blueprint.build(make)
    file = locate(source, *names)
    return fill(make, read_weights(file), file, prefix=prefix, unused=unused)


def fill(
    make: Callable[[], Module],
    weights: Mapping[str, Tensor],
    file: Path,
    *,
    prefix: str = "",
    unused: Sequence[str] = (),
) -> Module:
    """A frozen module whose tensors are exactly `weights`, in their own dtype, without initialising it first.

    prefix: what the file puts before the module's own names; unused: beginnings of names that are left out.
    Raises UsageError naming what is missing, unknown or of another size.
    """
    with init_empty_weights():
        module = make()
    wanted = {prefix + name: tensor.shape for name, tensor in module.state_dict().items()}
    given = {name: tensor for name, tensor in weights.items() if not name.startswith(tuple(unused))}
    problems = [
        _problem("missing", set(wanted) - set(given)),
        _problem("unknown", set(given) - set(wanted)),
        _problem("of another size", {n for n in set(given) & set(wanted) if given[n].shape != wanted[n]}),
    ]
    if any(problems):
        raise UsageError(
            f"`{file.name}` holds another model: {'; '.join(filter(None, problems))}.",
            action="Check that this is the file that the scorer or base wants.",
        )
    module.load_state_dict({n.removeprefix(prefix): t for n, t in given.items()}, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _problem(kind: str, names: set[str]) -> str:
    return f"{len(names)} names {kind}, first `{min(names)}`" if names else ""


def _load_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):  # the old format before torch 1.6 cannot be mapped
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _refuse_unfinished(path: Path) -> None:
    if path.suffix in UNFINISHED:
        raise UsageError(f"`{path.name}` is a half-finished download.", action="Let it finish, or download it again.")
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise UsageError(
                f"`{path.name}` is a pointer of Git LFS, not the weights.",
                action="Run `git lfs pull` there, or give the Hub id.",
            )


def _in_folder(folder: Path, names: Sequence[str]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is not None:
        return found
    half = [path.name for path in folder.iterdir() if path.suffix in UNFINISHED and path.stem in names]
    raise UsageError(
        f"The folder `{folder.name}` has no file `{names[0] if names else ''}`.",
        cause=f"Its download is not finished: `{half[0]}`." if half else "",
        action="Download it again." if half else "Give the folder that holds it, or the file itself.",
    )


def _first_of(names: Sequence[str], repo: str, revision: str | None) -> Path:
    for name in names[:-1]:
        with contextlib.suppress(errors.EntryNotFoundError):
            return Path(huggingface_hub.hf_hub_download(repo, name, revision=revision))
    return Path(huggingface_hub.hf_hub_download(repo, names[-1], revision=revision))


def _explained(source: str, name: str, fetch: Callable[[], Found]) -> Found:
    """What the Hub answers, in words. The order matters: a gated repository also counts as one not found."""
    try:
        return fetch()
    except errors.GatedRepoError:
        raise UsageError(
            f"`{source}` needs its licence accepted once, and a token.",
            action="1) Open the model page, 2) accept, 3) run `hf auth login` and paste the token.",
        ) from None
    except errors.RepositoryNotFoundError:
        raise UsageError(f"There is no repository `{source}`, or your token cannot see it.") from None
    except errors.RevisionNotFoundError:
        raise UsageError(f"`{source}` names a revision that the repository does not have.") from None
    except errors.RemoteEntryNotFoundError:
        raise UsageError(f"The repository `{source}` has no file `{name}`.") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise UsageError(
            f"`{source}` is not on this computer, and the Hub cannot be reached.",
            cause="HF_HUB_OFFLINE=1 is set." if huggingface_hub.constants.HF_HUB_OFFLINE else "",
            action="Go online once, or give the path of a local copy.",
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise UsageError(f"The Hub answered {status} for `{source}`.", action="Try again later.") from None
    except (errors.HTTPError, errors.XetDownloadError):
        raise UsageError(
            f"The download of `{source}` broke off.", action="Start again: it goes on where it stopped."
        ) from None
