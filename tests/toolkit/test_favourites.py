"""Favourite pairs on disk: shared, never torn, never lost to a second writer or a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.favourites import MOST, Favourites
from toolkit.words import WordPair

ADD_MANY = """
import sys
from pathlib import Path
from toolkit.favourites import Favourites
from toolkit.words import WordPair
kept = Favourites(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    kept.add(WordPair(positive=f"{sys.argv[2]} {number}", negative="other"))
"""


def pair(positive: str, negative: str = "other") -> WordPair:
    return WordPair(positive=positive, negative=negative)


def writer(root: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", ADD_MANY, str(root), name, str(count)])


def test_the_newest_come_first_and_none_twice(tmp_path: Path) -> None:
    kept = Favourites(tmp_path)
    assert kept.read() == ()
    for positive in ("a", "b", "a"):
        kept.add(pair(positive))
    assert [one.positive for one in Favourites(tmp_path).read()] == ["a", "b"]
    kept.remove(pair("a"))
    kept.remove(pair("never kept"))
    assert [one.positive for one in kept.read()] == ["b"]


def test_a_pair_that_is_another_one_turned_round_is_its_own(tmp_path: Path) -> None:
    kept = Favourites(tmp_path)
    kept.add(pair("a", "b"))
    kept.add(pair("b", "a"))
    assert len(kept.read()) == 2


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    both = [writer(tmp_path, name, 20) for name in ("first", "second")]
    assert [one.wait(timeout=120) for one in both] == [0, 0]
    assert {one.positive for one in Favourites(tmp_path).read()} == {
        f"{name} {number}" for name in ("first", "second") for number in range(20)
    }


def test_a_killed_writer_leaves_a_whole_file_and_no_lock(tmp_path: Path) -> None:
    kept = Favourites(tmp_path)
    busy = writer(tmp_path, "killed", MOST - 1)
    deadline = time.monotonic() + 60
    while not kept.file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    busy.send_signal(signal.SIGKILL)
    busy.wait(timeout=30)
    before = len(json.loads(kept.file.read_text())["pairs"])
    kept.add(pair("after"))
    assert kept.read()[0].positive == "after"
    assert len(kept.read()) == before + 1


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"pairs": [{"positive": "a"}]}', '{"pairs": [{"positive": 1}]}', "\x00"]
)
def test_a_damaged_file_is_told_of_and_never_overwritten(tmp_path: Path, content: str) -> None:
    kept = Favourites(tmp_path)
    kept.file.write_text(content)
    for change in (kept.read, lambda: kept.add(pair("a")), lambda: kept.remove(pair("a"))):
        with pytest.raises(UsageError, match="cannot be read"):
            change()
    assert kept.offered() == ()
    assert kept.file.read_text() == content


def test_what_cannot_be_saved_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="could not be saved"):
        Favourites(tmp_path / "file").add(pair("a"))


def test_there_is_an_end_to_them(tmp_path: Path) -> None:
    kept = Favourites(tmp_path)
    content = [{"positive": f"word {number}", "negative": "other"} for number in range(MOST)]
    kept.file.write_text(json.dumps({"pairs": content}))
    with pytest.raises(UsageError, match="Remove one"):
        kept.add(pair("one more"))
    kept.add(pair("word 7"))  # kept already: it only moves up
    assert len(kept.read()) == MOST
