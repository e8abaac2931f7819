"""Whether the Hub lets this computer have a model: asked before a run, and only where the answer matters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit import catalogue
from toolkit.errors import UsageError
from toolkit.recipe import Recipe

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MARKERS = ("model_index.json", "config.json")  # a cached repository has one of them
OFFLINE = ("1", "on", "yes", "true")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in OFFLINE


def sources(recipe: Recipe) -> Iterator[str]:
    """The Hub ids that a recipe's base and scorers load their weights from."""
    chosen = (("bases", recipe.base), ("rewards", recipe.reward), ("rewards", recipe.validation.scorer))
    for kind, section in chosen:
        weights = (catalogue.find(kind, section.name).defaults() | section.settings).get("weights")
        if isinstance(weights, str) and HUB_ID.fullmatch(weights) and not Path(weights).expanduser().exists():
            yield weights


def check(repository: str) -> None:
    """Raise UsageError when a repository is neither here nor to be had. An unreachable Hub is left to the download."""
    import huggingface_hub
    from huggingface_hub import errors

    if any(isinstance(huggingface_hub.try_to_load_from_cache(repository, name), str) for name in MARKERS):
        return
    if is_offline():
        raise UsageError(
            f"`{repository}` is not on this computer, and HF_HUB_OFFLINE=1 forbids to download it.",
            action="Go online once, or give the path of a local copy in `weights`.",
        )
    try:
        huggingface_hub.auth_check(repository)
    except errors.GatedRepoError:
        raise UsageError(
            f"`{repository}` needs its licence accepted once, and a token.",
            action=f"1) Open https://huggingface.co/{repository} 2) accept 3) `hf auth login` and paste the token.",
        ) from None
    except errors.RepositoryNotFoundError:
        raise UsageError(
            f"There is no `{repository}` on the Hub, or your token cannot see it.", action="Check the id."
        ) from None
    except (errors.HfHubHTTPError, errors.HTTPError, OSError):
        return


def token() -> dict[str, Any] | None:
    """Who the Hub takes this computer for: {name, role}; the role is "unknown" offline. None without a token."""
    import huggingface_hub
    from huggingface_hub import errors

    if not huggingface_hub.get_token():
        return None
    if is_offline():
        return {"name": "", "role": "unknown"}
    try:
        said = huggingface_hub.whoami()
    except errors.HfHubHTTPError:
        raise UsageError(
            "The Hub does not accept your token.", cause="It expired or was deleted.", action="hf auth login"
        ) from None
    except (errors.HTTPError, OSError):
        return {"name": "", "role": "unknown"}
    access = said.get("auth", {}).get("accessToken", {})
    return {"name": said.get("name", ""), "role": access.get("role", "unknown")}
