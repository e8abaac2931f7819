"""What a creator brings decides which methods are offered and what the recipe says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from toolkit import catalogue, pairs
from toolkit.studio import recipe_form, start_markup, tastes
from toolkit.studio.recipe_form import Fields


def taught(taste: str, base: str = "demo", **changed: object) -> str:
    first = recipe_form.first()
    return recipe_form.fill(first, replace(recipe_form.fields(first), taste=taste, base=base, **changed))


def test_every_method_belongs_to_a_taste_and_the_short_lists_are_among_them() -> None:
    assert {name for taste in tastes.TASTES for name in tastes.all_methods(taste)} == set(catalogue.load()["methods"])
    for taste in tastes.TASTES:
        everything = tastes.methods(taste, everything=True)
        assert sorted(everything) == sorted(set(tastes.all_methods(taste)))
        assert everything[0] == tastes.recommended(taste)
        start_markup.taste(taste)
    assert tastes.methods("pairs", chosen="smpo")[-1] == "smpo"
    assert "srpo" not in tastes.methods("pairs", chosen="srpo")


@pytest.mark.parametrize("base", list(catalogue.load()["bases"]))
@pytest.mark.parametrize("taste", [*pairs.KINDS])
def test_every_offered_method_makes_a_recipe_that_lacks_nothing_but_its_folder(taste: str, base: str) -> None:
    for method in tastes.all_methods(taste):
        begun = taught(taste, base, folder="/my/files")
        content = recipe_form.fill(begun, replace(recipe_form.fields(begun), method=method))
        fields = recipe_form.fields(content)
        assert (fields.taste, fields.method, fields.folder) == (taste, method, "/my/files")
        assert recipe_form.parse(content).data.sources == {taste: "/my/files"}
        without = recipe_form.fill(content, replace(fields, folder=""))
        assert recipe_form.trouble(without) is None


def test_a_taste_brings_its_recommended_method_and_going_back_leaves_no_data_behind() -> None:
    content = taught("pairs", folder="mine")
    assert recipe_form.fields(content).method == "dpo"
    back = recipe_form.fill(content, replace(recipe_form.fields(content), taste=tastes.WORDS))
    assert "data" not in yaml.safe_load(back)
    assert recipe_form.fields(back).method == "srpo"
    assert recipe_form.parse(back).words


def test_pictures_may_teach_without_words_and_then_name_the_run() -> None:
    content = taught("photos", positive="", negative="", folder="/my/Old Cameras")
    assert "words" not in yaml.safe_load(content)
    assert recipe_form.parse(content).name == "old-cameras-sft"


def test_other_data_settings_survive_another_folder() -> None:
    content = recipe_form.put(taught("pairs", folder="a"), {"data.held_out": 0.2})
    filled = recipe_form.fill(content, replace(recipe_form.fields(content), folder="b"))
    assert yaml.safe_load(filled)["data"] == {"pairs": "b", "held_out": 0.2}


@pytest.mark.parametrize("name", list(recipe_form.shipped()))
def test_every_ready_recipe_fills_the_form_and_filling_it_in_again_changes_nothing(name: str) -> None:
    content = recipe_form.opened(name)
    fields = recipe_form.fields(content)
    assert fields.taste in tastes.TASTES
    assert fields.method in tastes.all_methods(fields.taste)
    again = yaml.safe_load(recipe_form.fill(content, fields))
    assert {**again, "name": ""} == {**yaml.safe_load(content), "name": ""}
    assert isinstance(fields, Fields)
