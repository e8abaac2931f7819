"""Pairs, photos and likes in every form people keep them, and in every way they can be wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from toolkit import catalogue, pairs, recipe
from toolkit.errors import UsageError
from toolkit.pairs import Candidate, Findings, Like, Pair, Photo
from toolkit.plan import preflight


def png(colour: int, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 40, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def put(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def lines(*entries: Any) -> str:
    return "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)


def counts(found: Findings) -> dict[str, int]:
    return {reason: len(places) for reason, places in found.dropped.items()}


def told(found: Findings) -> list[tuple[str, str, str]]:
    return [(p.prompt, p.chosen.path.name, p.rejected.path.name) for p in found.kept if isinstance(p, Pair)]


A, B, C = png(1), png(2), png(3)


# ── the forms ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sides", [("chosen", "rejected"), ("win", "lose"), ("w", "l")])
def test_two_folders_are_matched_by_stem_with_captions_beside(tmp_path: Path, sides: tuple[str, str]) -> None:
    better, worse = sides
    put(tmp_path, {f"{better}/1.png": A, f"{worse}/1.png": B, f"{better}/1.txt": " a cat \n"})
    put(tmp_path, {f"{better}/2.png": C, f"{worse}/2.png": A, f"{worse}/2.txt": "a dog"})
    assert told(pairs.read("pairs", tmp_path)) == [("a cat", "1.png", "1.png"), ("a dog", "2.png", "2.png")]
    assert all(p.chosen.path.parent.name == better for p in pairs.read("pairs", tmp_path).kept)


def test_one_captions_file_serves_both_folders(tmp_path: Path) -> None:
    put(
        tmp_path,
        {"chosen/1.png": A, "rejected/1.png": B, "captions.jsonl": lines({"file": "1.png", "prompt": "a cat"})},
    )
    assert told(pairs.read("pairs", tmp_path)) == [("a cat", "1.png", "1.png")]


def test_json_lines_name_sides_or_a_label(tmp_path: Path) -> None:
    put(tmp_path, {"a.png": A, "b.png": B, "c.png": C})
    put(tmp_path, {"pairs.jsonl": lines(
        {"prompt": "one", "chosen": "a.png", "rejected": "b.png", "weight": 2, "margin": 0.5},
        {"prompt": "two", "a": "a.png", "b": "c.png", "label": 0},
        {"prompt": "three", "a": "a.png", "b": "c.png", "label": 1, "source_model": "x"},
        {"prompt": "four", "chosen": "b.png", "rejected": "c.png", "score_chosen": 0.9, "score_rejected": 0.1},
    )})  # fmt: skip
    found = pairs.read("pairs", tmp_path)
    assert told(found) == [("one", "a.png", "b.png"), ("two", "c.png", "a.png"), ("three", "a.png", "c.png"),
                           ("four", "b.png", "c.png")]  # fmt: skip
    first, *_, last = found.kept
    assert isinstance(first, Pair)
    assert isinstance(last, Pair)
    assert (first.weight, first.margin, first.scores, last.scores) == (2, 0.5, None, (0.9, 0.1))
    assert pairs.read("pairs", tmp_path / "pairs.jsonl").kept == found.kept


def test_hpdv2_lists_give_all_strict_pairs_of_a_rank(tmp_path: Path) -> None:
    put(tmp_path, {"a.png": A, "b.png": B, "c.png": C})
    put(tmp_path, {
        "train.json": json.dumps([{"prompt": "p", "file_path": ["a.png", "b.png"], "human_preference": [0, 1]}]),
        "test.json": json.dumps([{"prompt": "p", "image_path": ["a.png", "b.png", "c.png"], "rank": [2, 1, 2]}]),
    })  # fmt: skip
    assert told(pairs.read("pairs", tmp_path / "train.json")) == [("p", "b.png", "a.png")]
    ranked = pairs.read("pairs", tmp_path / "test.json")
    assert told(ranked) == [("p", "b.png", "a.png"), ("p", "b.png", "c.png")]
    assert counts(ranked) == {"tie": 1}


def table(path: Path, rows: list[dict[str, Any]], group: int = 2) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=group)
    return path


def test_pick_a_pic_tables_are_read_cell_by_cell(tmp_path: Path) -> None:
    def row(first: bytes, second: bytes, label: float, **more: Any) -> dict[str, Any]:
        return {"caption": "p", "jpg_0": first, "jpg_1": second, "label_0": label, "has_label": True, **more}

    rows = [row(A, B, 1.0), row(A, C, 0.5), row(A, C, 0.0), row(A, B[:40], 1.0), row(B, C, 1.0, has_label=False)]
    found = pairs.read("pairs", table(tmp_path / "t.parquet", rows))
    assert [(p.chosen.read(), p.rejected.read()) for p in found.kept if isinstance(p, Pair)] == [(A, B), (C, A)]
    assert counts(found) == {"tie": 1, "broken picture": 1, "malformed entry": 1}


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jpg_0, jpg_1, caption and label_0"):
        pairs.read("pairs", table(tmp_path / "t.parquet", [{"x": 1}]))
    put(tmp_path, {"torn.parquet": b"PAR1 and then nothing"})
    with pytest.raises(UsageError, match="not a whole parquet table"):
        pairs.read("pairs", tmp_path / "torn.parquet")


def test_photos_are_a_folder_or_lines_with_weights(tmp_path: Path) -> None:
    put(tmp_path / "folder", {"1.png": A, "1.txt": "a cat", "2.png": B})
    found = pairs.read("photos", tmp_path / "folder")
    assert [(p.prompt, p.picture.path.name) for p in found.kept if isinstance(p, Photo)] == [("a cat", "1.png")]
    assert counts(found) == {"empty prompt": 1}
    put(tmp_path / "list", {"1.png": A, "photos.jsonl": lines({"prompt": "a cat", "picture": "1.png", "weight": 3})})
    (only,) = pairs.read("photos", tmp_path / "list").kept
    assert only.weight == 3


def test_likes_are_two_folders_or_lines(tmp_path: Path) -> None:
    put(tmp_path / "folder", {"liked/1.png": A, "liked/1.txt": "a", "disliked/2.png": B, "disliked/2.txt": "b"})
    put(tmp_path / "list", {"1.png": A, "2.png": B, "likes.jsonl": lines(
        {"prompt": "a", "picture": "1.png", "liked": True}, {"prompt": "b", "picture": "2.png", "liked": False}
    )})  # fmt: skip
    for name in ("folder", "list"):
        found = pairs.read("likes", tmp_path / name).kept
        assert [(p.prompt, p.liked) for p in found if isinstance(p, Like)] == [("a", True), ("b", False)]


def test_an_animation_keeps_its_frames_in_order(tmp_path: Path) -> None:
    shades = [Image.new("RGB", (8, 8), (20 * n, 0, 0)) for n in range(5)]
    shades[0].save(tmp_path / "a.webp", save_all=True, append_images=shades[1:], lossless=True, duration=60)
    picture = pairs.Picture(tmp_path / "a.webp")
    seen = pairs.shape(picture)
    assert seen is not None
    assert seen.frames == 5
    assert [frame.getpixel((0, 0))[0] for frame in pairs.frames(picture)] == [0, 20, 40, 60, 80]


# ── what is wrong with it ─────────────────────────────────────────────────────────────────────────────────────────────


def malformed_folders(root: Path) -> tuple[str, dict[str, int]]:
    put(root, {"chosen/1.png": A, "rejected/1.png": B, "chosen/1.txt": "ok"})
    put(root, {"chosen/2.png": A, "chosen/2.txt": "one side only", "rejected/3.png": B})
    put(root, {"chosen/4.png": A, "rejected/4.png": B[:50], "chosen/4.txt": "cut short"})
    put(root, {"chosen/5.png": A, "rejected/5.png": png(9, (8, 16)), "chosen/5.txt": "other shape"})
    put(root, {"chosen/6.png": C, "rejected/6.png": B})
    put(root, {"chosen/7.png": C, "rejected/7.png": C, "chosen/7.txt": "twins"})
    return "", {"missing picture": 2, "broken picture": 1, "different aspect ratios": 1, "empty prompt": 1,
                "the same picture twice": 1}  # fmt: skip


def malformed_lines(root: Path) -> tuple[str, dict[str, int]]:
    put(root, {"a.png": A, "b.png": B, "c.png": C})
    good = {"prompt": "p", "chosen": "a.png", "rejected": "b.png"}
    put(root, {"pairs.jsonl": lines(
        good, good, "{not json", {"prompt": "p", "chosen": "a.png"}, {**good, "weight": "heavy"},
        {**good, "weight": float("nan")}, {**good, "rejected": "../../etc/passwd"},
        {**good, "rejected": "/etc/hostname"},
        {"prompt": "q", "a": "a.png", "b": "b.png", "label": 0.5}, {**good, "rejected": "nowhere.png"}, "[1, 2]",
    )})  # fmt: skip
    return "", {"duplicate": 1, "malformed entry": 4, "missing picture": 2, "path outside the folder": 2, "tie": 1}


def masked(root: Path) -> tuple[str, dict[str, int]]:
    put(
        root,
        {"a.png": A, "b.png": B, "good.png": png(255, (16, 16)), "black.png": black(), "wide.png": png(9, (16, 8))},
    )
    put(root, {"torn.png": png(9)[:50]})
    names = ("good.png", "black.png", "wide.png", "torn.png", "gone.png", "../out.png")
    put(root, {"pairs.jsonl": lines(
        *({"prompt": "p", "chosen": "a.png", "rejected": "b.png", "mask": name} for name in names)
    )})  # fmt: skip
    return "", {"broken mask": 1, "empty mask": 1, "mask of another aspect": 1, "missing mask": 1,
                "path outside the folder": 1}  # fmt: skip


def black() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def contradictory(root: Path) -> tuple[str, dict[str, int]]:
    put(root, {"a.png": A, "b.png": B, "c.png": C})
    put(root, {"pairs.jsonl": lines(
        {"prompt": "p", "chosen": "a.png", "rejected": "b.png"},
        {"prompt": "p", "chosen": "b.png", "rejected": "a.png"},
        {"prompt": "other", "chosen": "b.png", "rejected": "a.png"},
    )})  # fmt: skip
    return "", {"contradictory labels": 2}


def not_pictures(root: Path) -> tuple[str, dict[str, int]]:
    put(root, {"a.png": A, "b.png": B, "text.png": "I am text", "empty.png": b"", "torn.jpg": jpeg()[:400]})
    wrong = [{"prompt": "p", "chosen": "a.png", "rejected": name} for name in ("text.png", "empty.png", "torn.jpg")]
    put(root, {"pairs.jsonl": lines({"prompt": "p", "chosen": "a.png", "rejected": "b.png"}, *wrong)})
    return "", {"broken picture": 3}


def hpd_with_holes(root: Path) -> tuple[str, dict[str, int]]:
    put(root, {"a.png": A, "b.png": B})
    entry = {"prompt": "p", "file_path": ["a.png", "b.png"], "human_preference": [1, 0]}
    content = [entry, {**entry, "file_path": ["a.png", "gone.png"]}, {**entry, "prompt": " "}]
    put(root, {"train.json": json.dumps(content)})
    return "train.json", {"missing picture": 1, "empty prompt": 1}


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make", [malformed_folders, malformed_lines, masked, contradictory, not_pictures, hpd_with_holes]
)
def test_a_malformed_set_gives_counts_and_reasons(tmp_path: Path, make) -> None:
    name, expected = make(tmp_path)
    found = pairs.read("pairs", tmp_path / name)
    assert len(found.kept) == 1
    assert counts(found) == expected
    assert found.sentence.startswith(f"1 kept, {sum(expected.values())} dropped: ")
    assert all(f"{reason}: {count} (" in found.sentence for reason, count in expected.items())
    assert all(reason in pairs.ADVICE for reason in expected)


def test_one_pair_may_be_told_apart_in_several_places(tmp_path: Path) -> None:
    """This hand is worse, that face is better: no duplicate and no contradiction, unless the place is the same."""
    put(tmp_path, {"a.png": A, "b.png": B, "hand.png": png(200), "face.png": png(100), "copy.png": png(200)})
    one = {"prompt": "p", "chosen": "a.png", "rejected": "b.png"}
    other = {"prompt": "p", "chosen": "b.png", "rejected": "a.png"}
    put(tmp_path, {
        "apart.jsonl": lines(one, {**one, "mask": "hand.png"}, {**other, "mask": "face.png"}),
        "both.jsonl": lines(one, {**one, "mask": "hand.png"}, {**other, "mask": "copy.png"}),
        "twice.jsonl": lines({**one, "mask": "hand.png"}, {**one, "mask": "copy.png"}),
    })  # fmt: skip
    apart = pairs.read("pairs", tmp_path / "apart.jsonl")
    assert not apart.dropped
    assert [p.mask.path.name if p.mask else "" for p in apart.kept if isinstance(p, Pair)] == [
        "",
        "hand.png",
        "face.png",
    ]
    assert counts(pairs.read("pairs", tmp_path / "both.jsonl")) == {"contradictory labels": 2}
    assert counts(pairs.read("pairs", tmp_path / "twice.jsonl")) == {"duplicate": 1}


def test_clips_of_different_length_are_no_pair(tmp_path: Path) -> None:
    folder = clips(tmp_path / "pair", 3)
    Image.new("RGB", (8, 8)).save(folder / "b.webp")
    with pytest.raises(UsageError, match="different numbers of frames: 1"):
        pairs.read("pairs", folder / "pairs.jsonl")


def test_a_missing_side_is_named(tmp_path: Path) -> None:
    put(tmp_path, {"chosen/1.png": A, "chosen/1.txt": "p", "rejected/2.png": B})
    with pytest.raises(UsageError, match=r"missing picture: 2 \(rejected/1, chosen/2\)"):
        pairs.read("pairs", tmp_path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, {"secret.png": A, "set/chosen/1.txt": "p", "set/rejected/1.png": B, "set/liked/2.txt": "p"})
    for side in ("chosen/1.png", "liked/2.png"):
        (tmp_path / "set" / side).symlink_to(tmp_path / "secret.png")
    put(tmp_path, {"set/disliked/3.png": C, "set/disliked/3.txt": "p"})
    with pytest.raises(UsageError, match="path outside the folder: 1"):
        pairs.read("pairs", tmp_path / "set")
    assert counts(pairs.read("likes", tmp_path / "set")) == {"path outside the folder": 1}


def test_what_holds_nothing_usable_is_refused_with_the_reasons(tmp_path: Path) -> None:
    put(tmp_path, {"a.png": A, "b.png": B})
    tie = {"prompt": "p", "a": "a.png", "b": "b.png", "label": 0.5}
    put(tmp_path, {"ties.jsonl": lines(tie), "empty.jsonl": "", "mixed.jsonl": lines(tie, "nonsense")})
    for name, said in (
        ("ties", r"tie: 1 \(line 1\).*a tie teaches nothing"),
        ("empty", "0 kept, 0 dropped"),
        ("mixed", r"malformed entry: 1 \(line 2\)"),
    ):
        with pytest.raises(UsageError, match=said):
            pairs.read("pairs", tmp_path / f"{name}.jsonl")


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_a_place_of_another_kind_is_refused(tmp_path: Path, kind: pairs.Kind) -> None:
    put(tmp_path, {"notes.txt": "hello", "list.json": '{"a": 1}'})
    for name in ("", "notes.txt", "list.json", "nowhere"):
        with pytest.raises(UsageError) as caught:
            pairs.read(kind, tmp_path / name)
        assert str(tmp_path / "nowhere" / "x") not in str(caught.value)


# ── candidates ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_candidates_say_what_made_them(tmp_path: Path) -> None:
    made = {"seed": 2**64 - 1, "index": 1, "model": "sdxl", "lora": "mine", "positive": "calm", "negative": "loud"}
    entries = (
        {"prompt": "a fox", "picture": "1.png", **made}, {"prompt": "a fox", "picture": "2.png"},
        {"prompt": "a fox", "picture": "3.png", "seed": -1}, {"prompt": "a fox", "picture": "../secret.png"},
        {"prompt": "", "picture": "1.png"}, '{"prompt": "torn',
    )  # fmt: skip
    put(tmp_path, {"1.png": A, "2.png": B, "3.png": C, "candidates.jsonl": lines(*entries)})
    put(tmp_path.parent, {"secret.png": A})
    found = pairs.read("candidates", tmp_path)
    first, second = found.kept
    assert isinstance(first, Candidate)
    assert (first.seed, first.index, first.model, first.lora) == (2**64 - 1, 1, "sdxl", "mine")
    assert (first.words, second.words) == (("calm", "loud"), ("", ""))
    assert counts(found) == {"malformed entry": 2, "path outside the folder": 1, "empty prompt": 1}
    with pytest.raises(UsageError, match=r"candidates.jsonl"):
        pairs.read("candidates", tmp_path.parent)


# ── in a recipe ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_data_lie_beside_the_recipe_and_count_by_what_they_say(tmp_path: Path) -> None:
    digests = []
    for name in ("here", "there"):
        put(tmp_path / name, {"mine/chosen/1.png": A, "mine/rejected/1.png": B, "mine/chosen/1.txt": "a cat"})
        put(tmp_path / name, {"r.yaml": "method: dpo\ndata: {pairs: mine}\n"})
        content = recipe.read(tmp_path / name / "r.yaml")
        assert content.data.pairs == str(tmp_path / name / "mine")
        digests.append(content.digest())
    assert digests[0] == digests[1]
    dropping = recipe.read(tmp_path / "here" / "r.yaml", {"data.prompt_dropout": 0.1})
    assert dropping.data.prompt_dropout == 0.1
    assert dropping.digest() != digests[0]
    put(tmp_path / "there", {"mine/chosen/1.txt": "a dog"})
    assert recipe.read(tmp_path / "there" / "r.yaml").digest() != digests[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"method": "dpo"}, r"`dpo` learns from preference pairs. Add data: \{pairs: FOLDER\}"),
        ({"method": "kto", "data": {"pairs": "x"}}, "`kto` learns from pictures liked or disliked"),
        ({"method": "sft"}, "`sft` learns from pictures with captions"),
        ({"method": "refl", "data": {"pairs": "x"}}, r"`refl` does not learn from `data.pairs`.*dpo, dpo_cm"),
        ({"method": "dpo", "data": {"pairs": "x", "likes": "y"}}, "not from several of them"),
        (
            {"method": "refl", "data": {"prompt_dropout": 0.1}},
            "is for `pairs`, `photos` or `likes`, and there are none",
        ),
        ({"method": {"name": "srpo", "source": "photos"}}, "`srpo` learns from pictures with captions"),
        ({"method": "srpo", "data": {"photos": "x"}}, "`srpo` does not learn from `data.photos`.*sft, srpo"),
    ],
)
def test_methods_and_data_that_do_not_fit_are_refused_in_a_sentence(content: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipe.parse({"words": {"positive": "a", "negative": "b"}, **content})


def test_preflight_reads_the_data_before_anything_loads(tmp_path: Path) -> None:
    content = recipe.parse({"method": "dpo", "data": {"pairs": str(tmp_path / "none")}})
    with pytest.raises(UsageError, match=r"do not exist.*palate pairs build"):
        preflight(content)
    put(tmp_path, {"some/chosen/1.png": A, "some/rejected/1.png": B, "some/chosen/1.txt": "a thing of its own"})
    preflight(recipe.parse({"method": "dpo", "data": {"pairs": str(tmp_path / "some")}}))
    with pytest.raises(UsageError, match="1 of 1 pairs have none"):
        preflight(recipe.parse({"method": "smpo", "data": {"pairs": str(tmp_path / "some")}}))


VIDEO = sorted(name for name, base in catalogue.load()["bases"].items() if "text_to_video" in base.gives)


@pytest.mark.parametrize("base", VIDEO)
@pytest.mark.parametrize("method", sorted(catalogue.load()["methods"]))
def test_every_method_takes_clips_and_those_that_learn_from_pictures_refuse_still_ones(
    tmp_path: Path, method: str, base: str
) -> None:
    needs = catalogue.find("methods", method).needs
    kind = next((kind for kind in pairs.KINDS if kind in needs), None)
    content: dict[str, Any] = {"base": {"name": base, "frames": 9, "weights": str(tmp_path)}, "method": method}
    content |= {"words": {"positive": "a", "negative": "b"}}
    if kind is None:
        recipe.parse(content)
        return
    for frames in (1, 9):
        folder = clips(tmp_path / str(frames), frames)
        checked = recipe.parse(content | {"data": {kind: str(folder / f"{kind}.jsonl")}})
        if frames == 1:
            with pytest.raises(UsageError, match=rf"`{base}` makes clips of 9 frames, and 1 of 1 {kind} have fewer"):
                preflight(checked)
        else:
            preflight(checked)


def clips(folder: Path, frames: int) -> Path:
    """Two animations, told of as a pair, as a photo and as a like."""
    folder.mkdir()
    for name in ("a", "b"):
        first, *others = [Image.new("RGB", (8, 8), (20 * n, ord(name), 0)) for n in range(frames)]
        first.save(folder / f"{name}.webp", save_all=True, append_images=others, lossless=True)
    line: dict[str, Any] = {"prompt": "a thing of its own", "chosen": "a.webp", "rejected": "b.webp"}
    line |= {"picture": "a.webp", "liked": True, "score_chosen": 1, "score_rejected": 0}
    for kind in pairs.KINDS:
        put(folder, {f"{kind}.jsonl": lines(line)})
    return folder
