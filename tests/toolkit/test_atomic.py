"""A file is there completely or not at all, whatever happens while it is written."""

import json
from pathlib import Path

import pytest

from toolkit import atomic


def test_content_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    atomic.write_file(path, "first, and longer")
    atomic.write_file(path, "second")
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_json_is_sorted_and_keeps_its_letters(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_json(path, {"b": "斑马", "a": 1})
    assert path.read_text(encoding="utf-8") == '{\n "a": 1,\n "b": "斑马"\n}\n'
    assert json.loads(path.read_text(encoding="utf-8"))["a"] == 1


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic.write_file(path, b"good")

    def half_then_fail(temporary: Path) -> None:
        temporary.write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        atomic.write_with(path, half_then_fail)
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_rename_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    atomic.write_file(path, "good")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("refused")))
    with pytest.raises(OSError, match="refused"):
        atomic.write_file(path, "bad")
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "a.txt", []
    monkeypatch.setattr(atomic, "flush", lambda flushed: seen.append((flushed.suffix, path.exists())))
    atomic.write_file(path, "x")
    assert seen[0] == (".txt", False)
    assert seen[1] == (tmp_path.suffix, True)


def test_a_writer_may_rely_on_the_suffix(tmp_path: Path) -> None:
    atomic.write_with(tmp_path / "picture.webp", lambda temporary: temporary.write_text(temporary.suffix))
    assert (tmp_path / "picture.webp").read_text() == ".webp"
