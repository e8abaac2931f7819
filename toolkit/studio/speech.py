"""What the Studio says, in the language of whoever asks. English sentences are the keys; locale/*.yaml translates them.

`say` translates at once while a request is answered (listening.py sets its language). What is drawn once for everybody,
while the pages are built, is kept as a mark that `spoken` replaces each time a page is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

import yaml

ENGLISH, CHINESE = "en", "zh"
LANGUAGES = MappingProxyType({ENGLISH: "English", CHINESE: "中文"})
TAGS = MappingProxyType({ENGLISH: "en", CHINESE: "zh-CN"})  # as the page's lang attribute names them
COOKIE = "palate_language"
_UNSPOKEN = "unspoken"  # the language of what is built for every visitor
_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


class _Kept(NamedTuple):
    """What a mark stands for: a sentence of the Studio's own with its parts, or one from elsewhere."""

    sentence: str
    parts: tuple[tuple[str, object], ...]
    is_own: bool


# A mark is a number between two characters of Unicode's private use area: escaping leaves it as it is.
_MARK = re.compile("\ue000([0-9]{1,6})\ue001")
_marked: dict[_Kept, int] = {}


@dataclass(frozen=True)
class Catalogue:
    """One language. said: the Studio's own sentences; told: templates of those that come from elsewhere."""

    said: Mapping[str, str]
    told: Mapping[str, str]


@cache
def catalogue(language: str) -> Catalogue:
    """The translations into a language; none are needed into English."""
    if language == ENGLISH:
        return Catalogue({}, {})
    content = yaml.safe_load((files("toolkit.studio") / "locale" / f"{language}.yaml").read_text(encoding="utf-8"))
    return Catalogue(content["said"], content["told"])


def language() -> str:
    """The language that is spoken here and now."""
    return _language.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak one of `LANGUAGES` inside."""
    before = _language.set(language)
    try:
        yield
    finally:
        _language.reset(before)


def unspoken() -> AbstractContextManager[None]:
    """Keep what is said inside as marks, for `spoken`."""
    return speaking(_UNSPOKEN)


def phrase(sentence: str) -> str:
    """A sentence of a table, to be said later: names it for the catalogue and leaves it as it is."""
    return sentence


def say(sentence: str, **parts: object) -> str:
    """The sentence in the language spoken here, its {places} filled. parts: numbers, names, what was said already."""
    now = _language.get()
    if now == _UNSPOKEN:
        return _mark(_Kept(sentence, tuple(sorted(parts.items())), is_own=True))
    template = catalogue(now).said.get(sentence, sentence)
    return template.format(**parts) if parts else template


def _mark(kept: _Kept) -> str:
    return f"\ue000{_marked.setdefault(kept, len(_marked))}\ue001"


def spoken(content: str, language: str) -> str:
    """What was built with marks, in a language."""
    kept = list(_marked)

    def replaced(found: re.Match[str]) -> str:
        if int(found[1]) >= len(kept):  # no mark of ours
            return ""
        sentence, parts, is_own = kept[int(found[1])]
        return spoken(say(sentence, **dict(parts)), language) if is_own else _told(sentence, language)

    with speaking(language):
        return _MARK.sub(replaced, content)


def paragraph(*sentences: str) -> str:
    """Sentences after each other; Chinese sets no space between them."""
    joined = ""
    for sentence in filter(None, sentences):
        joined += sentence if joined.endswith(tuple("。！？：；")) else f" {sentence}"
    return joined.lstrip()


def script_sentences() -> list[str]:
    """What the pages' script says, by its own `say('…')`; a part of it stays in its {place}."""
    script = (files("toolkit.studio") / "studio.js").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"say\('([^']+)'", script)))


def told(sentences: str) -> str:
    """Sentences of a run, an error or a check-up, which are English; one that the catalogue lacks stays so."""
    now = _language.get()
    return _mark(_Kept(sentences, (), is_own=False)) if now == _UNSPOKEN and sentences else _told(sentences, now)


@lru_cache(maxsize=4096)
def _told(sentences: str, language: str) -> str:
    if language == ENGLISH:
        return sentences
    one_by_one = re.split(r"(?<=[.!?]) (?=[^a-z])", sentences)
    found = [_one_told(one, language) for one in one_by_one]
    if None in found and (whole := _one_told(sentences, language)) is not None:
        return whole
    return paragraph(*(other or one for one, other in zip(one_by_one, found, strict=True)))


def _one_told(sentence: str, language: str) -> str | None:
    exact = catalogue(language).told.get(sentence)
    if exact is not None:
        return exact
    for pattern, template in _patterns(language):
        if found := pattern.fullmatch(sentence):
            return template.format(**{name: _told_part(part, language) for name, part in found.groupdict().items()})
    return None


def _told_part(part: str, language: str) -> str:
    """What fills a place: a name stays; a sentence may have lost its capital and its full stop."""
    if " " not in part:
        return part
    whole = _one_told(f"{part[0].upper()}{part[1:]}.", language)
    return _told(part, language) if whole is None else whole.rstrip("。")


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each template with places as a pattern; those with the most words of their own first."""
    known = [(template, other) for template, other in catalogue(language).told.items() if "{" in template]
    known.sort(key=lambda pair: -len(re.sub(r"\{\w+\}", "", pair[0])))
    return tuple((re.compile(_pattern(template), re.DOTALL), other) for template, other in known)


def _pattern(template: str) -> str:
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(f"(?P<{part}>.+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
