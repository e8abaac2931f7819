"""The only place that looks at what the installed ComfyUI knows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def build(make: Callable[..., T], /, *arguments: Any, **keywords: Any) -> T:
    """`make(*arguments, **keywords)` without the keywords that it does not know.

    Schemas and sockets gain fields with every release (`search_aliases`, `advanced`); to an older one they are a
    TypeError that loses the whole pack. Every schema, input and output of ours is built through here.
    """
    known = inspect.signature(make).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        keywords = {name: value for name, value in keywords.items() if name in known}
    return make(*arguments, **keywords)
