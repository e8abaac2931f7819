"""Prompt lists are read exactly, or refused with the line to mend; the three lists of a recipe share nothing."""

from pathlib import Path

import pytest

from toolkit import prompts, recipe
from toolkit.errors import UsageError
from toolkit.plan import preflight
from toolkit.prompts import Prompt


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def refusal(source: str) -> str:
    with pytest.raises(UsageError) as caught:
        prompts.read(source)
    return str(caught.value)


def test_text_files_hold_one_prompt_a_line(tmp_path: Path) -> None:
    source = write(tmp_path, "p.txt", "# my list\n\n a cat \r\n\ta dog\n  # not this\nein Zebra — 斑马")
    assert prompts.read(source) == [Prompt(t, t) for t in ("a cat", "a dog", "ein Zebra — 斑马")]


def test_json_files_may_name_the_subject(tmp_path: Path) -> None:
    source = write(tmp_path, "p.jsonl", '{"prompt": "a cat on a mat", "subject": "a cat"}\n\n{"prompt": "a dog"}\n')
    assert prompts.read(source) == [Prompt("a cat on a mat", "a cat"), Prompt("a dog", "a dog")]


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    assert prompts.read(write(tmp_path, "p.txt", b"\xef\xbb\xbfa cat\n"))[0].text == "a cat"


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    source = write(tmp_path, "p.jsonl", '{"prompt": "a cat\u2028on a mat"}\n{"prompt": "a dog"}')
    assert [prompt.text for prompt in prompts.read(source)] == ["a cat\u2028on a mat", "a dog"]


def test_a_path_counts_from_the_given_folder(tmp_path: Path) -> None:
    write(tmp_path, "p.txt", "a cat")
    assert prompts.read("p.txt", tmp_path)[0].text == "a cat"


@pytest.mark.parametrize("content", ["", "\n \n", "# only\n# comments\n"])
def test_a_list_without_prompts_is_refused(tmp_path: Path, content: str) -> None:
    assert "holds no prompt" in refusal(write(tmp_path, "p.txt", content))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(str(tmp_path / "missing.txt"))
    assert "does not exist" in refusal("demo:nonsense")
    assert "UTF-8" in refusal(write(tmp_path, "latin.txt", "ein Bär".encode("latin-1")))
    assert "cannot be read" in refusal(str(tmp_path))
    assert "cannot be read" in refusal(write(tmp_path, "p.txt", "a cat") + "/inside.txt")


@pytest.mark.parametrize(
    "line", ['{"prompt": 5}', '{"promt": "a"}', "a cat", "[1]", '{"prompt": "a"', '{"prompt": ""}']
)
def test_a_bad_json_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    source = write(tmp_path, "p.jsonl", f'{{"prompt": "fine"}}\n# comment\n{line}\n')
    assert "Line 3" in refusal(source)


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("validation", "test"), ("train", "validation")])
def test_lists_that_share_a_prompt_are_refused(tmp_path: Path, first: str, second: str) -> None:
    lists = {role: f"a {role} thing\n" for role in ("train", "validation", "test")}
    lists[first] += "a shared thing\n"
    lists[second] += "a shared thing\n"
    sources = {role: write(tmp_path, f"{role}.txt", content) for role, content in lists.items()}
    content = recipe.parse({"words": {"positive": "a", "negative": "b"}, "prompts": sources})
    with pytest.raises(UsageError, match=f"The {first} and {second} prompts share 1, such as “a shared thing”"):
        preflight(content)


def test_the_shipped_lists_pass_the_same_check() -> None:
    preflight(recipe.parse({"words": {"positive": "a", "negative": "b"}}))
    assert len(prompts.read("demo:test")) >= 64
