"""Layer names: diffusers' ↔ the original network's, in both directions. Pure text.

A pattern writes `*` for a layer number. An original layer may hold several of diffusers' layers as slices of its rows,
such as a fused qkv; `Place.rows` says which, as fractions, so one table serves every width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property


@dataclass(frozen=True)
class Place:
    """Where a layer lives: rows first/of to last/of of `name`; `swapped` when its two halves stand the other way."""

    name: str
    first: int = 0
    last: int = 1
    of: int = 1
    swapped: bool = False

    def rows(self, total: int) -> slice:
        """The rows among `total`. Raises ValueError when they do not divide."""
        if total % self.of:
            raise ValueError(f"{total} rows cannot be cut into {self.of} equal parts")
        return slice(total // self.of * self.first, total // self.of * self.last)


@dataclass(frozen=True)
class Rule:
    """One pattern of diffusers' and the place of its weights in the original network, also a pattern, or None."""

    diffusers: str
    original: Place | None


def same(*patterns: str) -> tuple[Rule, ...]:
    """Layers that both sides call the same."""
    return tuple(Rule(pattern, Place(pattern)) for pattern in patterns)


def renamed(pairs: dict[str, str], *, diffusers: str = "", original: str = "") -> tuple[Rule, ...]:
    """Layers with two names; `diffusers` and `original` stand before every name of their side."""
    return tuple(Rule(diffusers + ours, Place(original + theirs)) for ours, theirs in pairs.items())


def fused(original: str, parts: Sequence[str], *, sizes: Sequence[int] = ()) -> tuple[Rule, ...]:
    """Diffusers' `parts`, which are the rows of one original layer from top to bottom, `sizes` their shares."""
    shares = list(sizes) or [1] * len(parts)
    starts = [sum(shares[:index]) for index in range(len(parts))]
    return tuple(
        Rule(part, Place(original, start, start + share, sum(shares)))
        for part, start, share in zip(parts, starts, shares, strict=True)
    )


def swapped(diffusers: str, original: str) -> tuple[Rule, ...]:
    """A modulation that one side stores as (scale, shift) and the other as (shift, scale)."""
    return (Rule(diffusers, Place(original, swapped=True)),)


def nameless(*patterns: str) -> tuple[Rule, ...]:
    """Layers of diffusers' without one place in the original network."""
    return tuple(Rule(pattern, None) for pattern in patterns)


@dataclass(frozen=True)
class Renaming:
    """All rules of a family. Names may come with dots or, as kohya writes them, with underscores."""

    rules: tuple[Rule, ...]

    def diffusers_name(self, name: str) -> str | None:
        """A diffusers name in its own spelling, or None when no layer is called so."""
        for rule, expression in self._from_diffusers:
            if found := expression.fullmatch(name):
                return _filled(rule.diffusers, found)
        return None

    def to_original(self, name: str) -> Place | None:
        """The place of diffusers' layer `name`, or None when the original network has no such layer."""
        for rule, expression in self._from_diffusers:
            if (found := expression.fullmatch(name)) and rule.original:
                return replace(rule.original, name=_filled(rule.original.name, found))
        return None

    def to_diffusers(self, name: str) -> list[tuple[str, Place]]:
        """Diffusers' layers inside the original layer `name`; empty when there is none."""
        return [
            (_filled(rule.diffusers, found), replace(place, name=_filled(place.name, found)))
            for rule, place, expression in self._from_original
            if (found := expression.fullmatch(name))
        ]

    def find(self, name: str) -> list[tuple[str, Place]]:
        """Diffusers' layers that a layer of either side's name holds, each with its rows."""
        ours = self.diffusers_name(name)
        return [(ours, Place(ours))] if ours else self.to_diffusers(name)

    @cached_property
    def _from_diffusers(self) -> list[tuple[Rule, re.Pattern[str]]]:
        return [(rule, _expression(rule.diffusers)) for rule in self.rules]

    @cached_property
    def _from_original(self) -> list[tuple[Rule, Place, re.Pattern[str]]]:
        return [(rule, rule.original, _expression(rule.original.name)) for rule in self.rules if rule.original]


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression that also takes kohya's spelling, where every dot is an underscore."""
    return re.compile(re.escape(pattern).replace(r"\.", "[._]").replace(r"\*", r"(\d+)"))


def _filled(pattern: str, numbers: re.Match[str]) -> str:
    remaining = iter(numbers.groups())
    return re.sub(r"\*", lambda _: next(remaining), pattern)
