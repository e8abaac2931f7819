"""Following events.jsonl across appends, torn lines, cuts and replacements."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import atomic
from toolkit.event_reader import EventReader, unseen


def line(number: int) -> bytes:
    return b'{"kind": "update", "n": %d}\n' % number


def numbers(reader: EventReader) -> list[int]:
    return [event["n"] for event in reader.read()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_a_file_that_is_not_there_yet_has_no_events(path: Path) -> None:
    reader = EventReader(path)
    assert reader.read() == ()
    path.write_bytes(line(1))
    assert numbers(reader) == [1]


def test_events_are_read_as_they_are_appended_and_a_torn_line_waits(path: Path) -> None:
    reader = EventReader(path)
    path.write_bytes(line(1) + line(2) + line(3)[:9])
    assert numbers(reader) == [1, 2]
    with path.open("ab") as file:
        file.write(line(3)[9:] + line(4))
    assert numbers(reader) == [1, 2, 3, 4]


def test_events_that_were_cut_back_are_forgotten(path: Path) -> None:
    reader = EventReader(path)
    path.write_bytes(line(1) + line(2))
    reader.read()
    path.write_bytes(line(1))
    assert numbers(reader) == [1]


def test_a_cut_file_that_has_outgrown_the_old_one_is_read_afresh(path: Path) -> None:
    """A resumed run cuts its log and goes on before the reader looks again: the old offset lies inside a line."""
    reader = EventReader(path)
    path.write_bytes(line(1) + line(2))
    reader.read()
    atomic.write_file(path, line(1))
    with path.open("ab") as file:
        file.write(line(2000) + line(3))
    assert numbers(reader) == [1, 2000, 3]


def test_what_is_no_event_is_left_out(path: Path) -> None:
    path.write_bytes(line(1) + b"\n{torn\n[]\n{}\n" + line(2))
    assert numbers(EventReader(path)) == [1, 2]


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_unseen_is_what_follows_the_common_beginning(common: list[int], old: list[int], new: list[int]) -> None:
    seen, events = (tuple({"kind": n} for n in common + tail) for tail in (old, new))
    rest = unseen(seen, events)
    assert events[len(events) - len(rest) :] == rest
    same = events[: len(events) - len(rest)]
    assert seen[: len(same)] == same
    assert not rest or len(seen) == len(same) or rest[0] != seen[len(same)]
