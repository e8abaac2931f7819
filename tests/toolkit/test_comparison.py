"""What may be compared, what is refused in words, and when two requests are the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import comparison, recipe
from toolkit.comparison import Cell, Column, Comparison, Request, check, column, pin
from toolkit.errors import UsageError
from toolkit.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
BOTH = [{}, {"run": "taste"}]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def make_run(runs: Path) -> MakeRun:
    def make_run(name: str = "taste", *, updates: tuple[int, ...] = (0, 2, 4), lora: bytes = b"lora", **changes: Any):
        content = recipe.parse(
            {"name": name, "words": {"positive": "3d render", "negative": "line art"}}, {"training.seed": 7, **changes}
        )
        run = RunFolder.create(runs, content)
        for update in updates:
            (run.checkpoints / f"{update:06d}").mkdir(parents=True)
            (run.checkpoints / f"{update:06d}" / "adapter.safetensors").write_bytes(b"adapter")
        if lora:
            run.lora.mkdir()
            (run.lora / f"{name}.safetensors").write_bytes(lora)
        return run

    return make_run


def asked(**changes: Any) -> Comparison:
    return check(**{"columns": BOTH, "prompts": ["a dog"]} | changes)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("base", Column()),
        ("taste", Column(run="taste")),
        ("taste@20", Column(run="taste", checkpoint=20)),
        ("taste@20*0.5", Column(run="taste", checkpoint=20, strength=0.5)),
        ("taste*-1", Column(run="taste", strength=-1)),
        ("base+3d render", Column(style="3d render")),
        ("a.b-c_d@3*1.5+so + so", Column(run="a.b-c_d", checkpoint=3, strength=1.5, style="so + so")),
    ],
)
def test_a_column_is_written_as_it_is_read(written: str, expected: Column) -> None:
    assert column(written) == expected


@pytest.mark.parametrize("written", ["", "@20", "taste@x", "taste*", "taste*9", "base*0.5", "base@3", "taste@0"])
def test_what_is_no_column_is_refused_in_words(written: str) -> None:
    with pytest.raises(UsageError) as refused:
        column(written)
    assert refused.value.what.startswith(f"“{written}”")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": [{}]}, "at least 2"),
        ({"columns": [{}, {}]}, "“base” is there twice"),
        ({"columns": [{"run": "a", "checkpoint": n} for n in range(1, 14)]}, "at most 12"),
        ({"columns": [{}, {"run": "taste", "strength": 1e9}]}, "less than or equal to 3"),
        ({"columns": [{}, {"run": "taste", "strength": float("nan")}]}, "finite"),
        ({"columns": [{}, {"run": "taste", "colour": 1}]}, "columns colour"),
        ({"prompts": []}, "at least 1"),
        ({"prompts": ["  "]}, "at least 1 character"),
        ({"prompts": ["a", " a "]}, "“a” is there twice"),
        ({"prompts": ["x" * 501]}, "at most 500"),
        ({"prompts": ["two\nlines"]}, "pattern"),
        ({"prompts": ["p" + "x" * n for n in range(16)], "pictures": 8}, "256 pictures are more than 96"),
        ({"seed": -1}, "`seed`"),
        ({"seed": 2**31}, "`seed`"),
        ({"seed": "soon"}, "`seed`"),
        ({"steps": 0}, "`steps`"),
        ({"steps": 101}, "`steps`"),
        ({"guidance_scale": float("inf")}, "`guidance_scale`"),
        ({"width": 10**9}, "`width`"),
    ],
)
def test_absurd_wishes_are_refused_in_words(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r".+\.") as refused:
        asked(**changes)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([{}, {"run": "nobody"}], "There is no run “nobody” here."),
        ([{}, {"run": "../taste"}], "There is no run “../taste” here."),
        ([{}, {"run": "taste", "checkpoint": 3}], "`taste` has no checkpoint 3. Choose one of its checkpoints: 2, 4."),
        ([{}, {"style": "3d"}], "Nothing but the base was chosen."),
        ([{"run": "taste"}, {"run": "young"}], "`young` has no finished LoRA. Choose one of its checkpoints: 2."),
        ([{"run": "taste"}, {"run": "foreign"}], "`taste` and `foreign` were not trained on the same base."),
        ([{"run": "taste"}, {"run": "half"}], "`taste` and `half` were not trained on the same base."),
    ],
)
def test_runs_that_cannot_be_drawn_are_refused_in_words(
    runs: Path, make_run: MakeRun, columns: list[dict[str, Any]], said: str
) -> None:
    make_run()
    make_run("young", updates=(0, 2), lora=b"")
    make_run("foreign", base="sdxl")
    make_run("half", **{"training.dtype": "bfloat16"})
    with pytest.raises(UsageError) as refused:
        pin(runs, asked(columns=columns))
    assert said in str(refused.value)


def test_a_size_is_only_for_bases_that_have_one(runs: Path, make_run: MakeRun) -> None:
    make_run()
    make_run("large", base="sdxl")
    with pytest.raises(UsageError, match="`demo` has no setting `width`"):
        pin(runs, asked(width=64))
    large = [{}, {"run": "large"}]
    assert pin(runs, asked(columns=large, width=512)).ground.base.settings["width"] == 512
    with pytest.raises(UsageError, match="multiple"):
        pin(runs, asked(columns=large, width=519))


def test_guidance_is_the_first_runs_where_none_is_given(runs: Path, make_run: MakeRun) -> None:
    make_run(**{"validation.guidance_scale": 4.5})
    assert pin(runs, asked()).comparison.guidance_scale == 4.5
    assert pin(runs, asked(guidance_scale=1)).comparison.guidance_scale == 1


def test_the_same_request_has_the_same_name_and_survives_its_file(runs: Path, make_run: MakeRun) -> None:
    make_run()
    request = pin(runs, asked())
    assert pin(runs, asked()).name == request.name
    assert Request.model_validate_json(request.model_dump_json()).name == request.name


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 43}, {"steps": 21}, {"guidance_scale": 1.0}, {"prompts": ["a cat"]},
        {"columns": [{"style": "3d"}, {"run": "taste", "style": "3d"}]},
    ],
)  # fmt: skip
def test_whatever_moves_pixels_moves_the_key_of_every_picture(
    runs: Path, make_run: MakeRun, changes: dict[str, Any]
) -> None:
    make_run()
    one, other = pin(runs, asked()), pin(runs, asked(**changes))
    for cell in one.comparison.cells:
        assert one.key(cell) != other.key(cell)


def test_a_picture_has_one_key_in_every_comparison_it_is_part_of(runs: Path, make_run: MakeRun) -> None:
    make_run()
    two = pin(runs, asked(prompts=["a dog", "a cat"]))
    columns = [{"run": "taste"}, {"run": "taste", "checkpoint": 2}, {"run": "taste", "strength": 0.5}, {}]
    four = pin(runs, asked(columns=columns, prompts=["a cat"], pictures=2))
    assert four.key(Cell(3, 0, 0)) == two.key(Cell(0, 1, 0))
    assert four.key(Cell(0, 0, 0)) == two.key(Cell(1, 1, 0))
    keys = [four.key(cell) for cell in four.comparison.cells]
    assert len(set(keys)) == len(keys) == 8


def test_a_lora_that_was_written_anew_is_drawn_anew_and_the_base_is_not(runs: Path, make_run: MakeRun) -> None:
    run = make_run()
    before = pin(runs, asked())
    run.lora_files()[0].write_bytes(b"another lora")
    after = pin(runs, asked())
    assert before.name != after.name
    assert before.key(Cell(0, 0, 0)) == after.key(Cell(0, 0, 0))
    assert before.key(Cell(1, 0, 0)) != after.key(Cell(1, 0, 0))


@given(prompts=st.integers(1, 16), columns=st.integers(2, 12), pictures=st.integers(1, 8))
def test_cells_are_all_of_them_column_by_column_or_the_wish_is_refused(
    prompts: int, columns: int, pictures: int
) -> None:
    wish: dict[str, Any] = {
        "columns": [{"run": "taste", "checkpoint": n + 1} for n in range(columns)],
        "prompts": [f"prompt {n}" for n in range(prompts)],
        "pictures": pictures,
    }
    if (count := prompts * columns * pictures) > comparison.MOST_PICTURES:
        with pytest.raises(UsageError, match=f"{count} pictures"):
            check(**wish)
    else:
        cells = check(**wish).cells
        assert len(set(cells)) == len(cells) == count
        assert [cell.column for cell in cells] == sorted(cell.column for cell in cells)
