"""The ready recipes: each fits its method, base and reward, and needs what its header says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolkit import recipe
from toolkit.recipe import Section
from training import blueprint, plan, tables
from training.bases import BASES
from training.methods import METHODS
from training.rewards import REWARDS

FOLDER = Path(recipe.__file__).parents[1] / "recipes"
READY = sorted(FOLDER.glob("*.yaml"))
PUBLISHED = [path for path in READY if path.stem.endswith("-srpo")]
VIDEO = ["cogvideox", "wan"]
PICTURES = sorted({*BASES} - {"demo", *VIDEO})
FROM_PICTURES = [path for path in READY if path not in PUBLISHED and not path.stem.startswith("demo")]
NEEDS = re.compile(r"Needs (\d+\.\d) GB of GPU memory as it is")


def head(path: Path) -> str:
    """The comment above a recipe as one line."""
    return path.read_text(encoding="utf-8").partition("\nname:")[0].replace("\n# ", " ")


def test_every_base_of_pictures_has_an_srpo_recipe() -> None:
    assert [path.stem for path in PUBLISHED] == [f"{name}-srpo" for name in PICTURES]


def test_every_base_has_recipes_that_learn_from_pictures() -> None:
    wanted = [f"{name}-{method}" for name in PICTURES for method in ("dpo", "srpo-photos")]
    wanted += [f"{name}-{method}" for name in VIDEO for method in ("dpo", "sdpo")]
    assert sorted(path.stem for path in FROM_PICTURES) == sorted(wanted)


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_recipe_fits_its_parts(path: Path) -> None:
    """Held against the classes themselves, not only against the catalogue."""
    content = recipe.read(path)
    tables.method(content.method)
    sections: list[tuple[dict[str, str], Section]] = [
        (BASES, content.base), (REWARDS, content.reward), (REWARDS, content.validation.scorer)
    ]  # fmt: skip
    for table, section in sections:
        tables.settings_model(tables.load_class(table, section.name))(**section.settings)
    given = {"differentiable", "text_conditioned", "words", content.data.kind}
    assert tables.load_class(METHODS, content.method.name).needs <= given
    assert content.reward.name != content.validation.scorer.name
    assert content.words or content.data.kind == "pairs"


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_recipe_of_a_published_base_says_what_it_needs_and_where_that_comes_from(path: Path) -> None:
    said = head(path)
    assert NEEDS.search(said)
    assert f"palate plan {path.stem} --memory 24" in said
    assert "computed from the module graph, not measured on a GPU" in said
    assert all(f"{size} GB" in said for size in (16, 24, 48, 80))


@pytest.mark.parametrize("path", FROM_PICTURES, ids=lambda path: path.stem)
def test_a_recipe_that_learns_from_pictures_says_where_they_belong_and_what_it_needs(path: Path) -> None:
    said, content = head(path), recipe.read(path)
    assert NEEDS.search(said)
    assert f"From `palate plan {path.stem}`: computed from the module graph, not measured on a GPU" in said
    assert content.data.kind is not None
    assert Path(content.data.source) == FOLDER / content.data.kind
    assert f"palate pairs check {content.data.kind}" in said


QUICK = {*(path.stem for path in READY if path.stem.startswith("demo")), "flux-srpo"}
PLANNED = [
    pytest.param(path, marks=pytest.mark.slow if path.stem in QUICK else pytest.mark.long, id=path.stem)
    for path in READY
]


@pytest.mark.parametrize("path", PLANNED)
def test_a_ready_recipe_can_be_planned(path: Path) -> None:
    content = recipe.read(path)
    with blueprint.weightless():
        guidance = tables.base(content.base).guidance
    found = plan.rehearse(content).on(1)
    for said in NEEDS.findall(head(path)):
        assert plan.needed(found) / plan.GB == pytest.approx(float(said), rel=0.02)
    if path in PUBLISHED:
        trained = content.method.settings["guidance_scale"]
        assert trained == 3.5 if guidance == "embedded" else trained == 1.0  # true guidance: the text's branch alone
        assert found.reward_bytes > plan.GB
