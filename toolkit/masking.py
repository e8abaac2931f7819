"""Secrets leave no trace in what is shown or copied: told by a variable's name, by a value's look, and by where a known
secret turns up again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

HIDDEN = "••••"
SHORTEST = 6  # characters; a shorter value of a secret is hidden under its name, not hunted for in other texts
NAME = re.compile(
    r"(^|_)(TOKEN|KEY|APIKEY|SECRET|PASSWORD|PASSWD|PASS|PWD|PASSPHRASE|CREDENTIALS?|AUTH|COOKIE|SIGNATURE|DSN)S?(_|$)",
    re.IGNORECASE,
)
NO_SECRET = {"PWD", "OLDPWD"}  # the shell's own: where it stands
VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{6,}"  # Hugging Face
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,}|\bgh[oprsu]_[A-Za-z0-9]{12,}|\bgithub_pat_\w{12,}|\bglpat-[\w-]{12,}"
    r"|\bxox[abprs]-[\w-]{8,}|\bAKIA[A-Z0-9]{12,}|\bAIza[\w-]{20,}|\bnpm_[A-Za-z0-9]{20,}|\br8_[A-Za-z0-9]{20,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JSON web token
)
IN_URL = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]+@")
NAMED = re.compile(
    r"(?P<before>(?:\b|(?<=_))(?:token|api[-_]?key|key|secret|password|passwd|pwd|auth|sig(?:nature)?)\s*[=:]\s*[\"']?)"
    r"[^\s&\"',;]+|(?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9+/._~=-]{6,}",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a variable of that name holds one, whatever it looks like."""
    return name.upper() not in NO_SECRET and NAME.search(name) is not None


def mask(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without passwords in addresses, without what looks like a token or follows a secret's name, and without
    any value that a variable with a secret's name holds.

    environment: this process's when None.
    """
    for value in _known(os.environ if environment is None else environment):
        text = text.replace(value, HIDDEN)
    text = IN_URL.sub(rf"\g<before>{HIDDEN}@", text)
    text = VALUE.sub(HIDDEN, text)
    return NAMED.sub(lambda found: (found["before"] or found["scheme"]) + HIDDEN, text)


def shown(name: str, value: str, environment: Mapping[str, str] | None = None) -> str:
    """A variable's value as it may be shown."""
    return HIDDEN if value and is_secret(name) else mask(value, environment)


def _known(environment: Mapping[str, str]) -> list[str]:
    """Values of variables that hold secrets, the longest first, so that none hides only a part of another."""
    values = {value for name, value in environment.items() if is_secret(name) and len(value) >= SHORTEST}
    return sorted(values, key=lambda value: (-len(value), value))
