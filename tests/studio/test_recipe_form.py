from dataclasses import astuple, replace

import pytest
import yaml

from toolkit import catalogue
from toolkit.errors import UsageError
from toolkit.studio import recipe_form
from toolkit.studio.recipe_form import Fields


def test_a_fresh_page_opens_with_a_recipe_that_works() -> None:
    recipe = recipe_form.parse(recipe_form.first())
    assert (recipe.base.name, recipe.method.name) == ("demo", "srpo")
    assert recipe.words


@pytest.mark.parametrize("method", ["srpo", "refl", "direct_align"])
def test_choosing_a_method_takes_the_settings_of_its_ready_recipe(method: str) -> None:
    wanted = replace(recipe_form.fields(recipe_form.first()), method=method)
    filled = recipe_form.fill(recipe_form.first(), wanted)
    assert yaml.safe_load(filled)["method"] == recipe_form.ready("demo", method)["method"]
    assert recipe_form.fields(filled) == wanted
    recipe_form.parse(filled)


def test_what_was_typed_survives_a_change_of_method() -> None:
    typed = recipe_form.first().replace("batch_size: 8", "batch_size: 3")
    filled = recipe_form.fill(typed, replace(recipe_form.fields(typed), method="refl"))
    assert yaml.safe_load(filled)["training"]["batch_size"] == 3


def test_filling_in_what_is_there_changes_nothing() -> None:
    first = recipe_form.first()
    assert recipe_form.fill(first, recipe_form.fields(first)) == first


def test_the_name_follows_the_words_until_somebody_types_one() -> None:
    first = recipe_form.first()
    fields = recipe_form.fields(first)
    sharp = recipe_form.fill(first, replace(fields, positive="Sharp, crisp"))
    assert yaml.safe_load(sharp)["name"] == "sharp-crisp"
    named = sharp.replace("name: sharp-crisp", "name: mine")
    assert yaml.safe_load(recipe_form.fill(named, replace(fields, positive="bright")))["name"] == "mine"


def test_words_of_any_script_give_a_usable_name() -> None:
    filled = recipe_form.fill(
        recipe_form.first(), replace(recipe_form.fields(recipe_form.first()), positive="写实照片")
    )
    assert recipe_form.parse(filled).name == "my-taste"


def test_several_pairs_in_the_yaml_stay_when_another_field_changes() -> None:
    tree = yaml.safe_load(recipe_form.first())
    tree["words"] = [{"positive": "a", "negative": "b"}, {"positive": "c", "negative": "d"}]
    content = yaml.safe_dump(tree, sort_keys=False)
    filled = recipe_form.fill(content, replace(recipe_form.fields(content), updates=7))
    assert yaml.safe_load(filled)["words"] == tree["words"]


def test_of_form_and_yaml_the_one_that_changed_counts() -> None:
    first = recipe_form.first()
    fields = recipe_form.fields(first)
    seen = list(astuple(fields))
    changed = replace(fields, updates=7)
    assert recipe_form.fields(recipe_form.reconcile(first, changed, seen)).updates == 7
    newer = recipe_form.fill(first, replace(fields, updates=9))
    assert recipe_form.reconcile(newer, fields, seen) == newer
    assert recipe_form.reconcile(first, changed, None) == first


@pytest.mark.parametrize("content", ["a: [", "- list", "", "name: x\n\tbad", "just words"])
def test_text_that_is_no_recipe_is_refused_in_a_sentence(content: str) -> None:
    with pytest.raises(UsageError, match=r"YAML|recipe"):
        recipe_form.fields(content)


@pytest.mark.parametrize(
    "content", ["words: 3", "words: [1]", "training: 5", "method: [x]", "training: {updates: many}"]
)
def test_odd_yaml_still_fills_the_form(content: str) -> None:
    assert isinstance(recipe_form.fields(content), Fields)


def test_scorers_that_only_judge_are_never_offered() -> None:
    offered = [name for _, name in recipe_form.choices("rewards")]
    assert offered
    assert not any(catalogue.load()["rewards"][name].held_out for name in offered)


def test_prompt_files_become_absolute_and_the_demo_lists_stay() -> None:
    recipe = recipe_form.parse(recipe_form.first() + "prompts: {validation: mine.txt}\n")
    assert recipe.prompts.validation.endswith("mine.txt")
    assert recipe.prompts.validation != "mine.txt"
    assert recipe.prompts.train == "demo:train"


def test_a_base_and_a_method_bring_their_plain_recipe_and_not_a_variant_of_it() -> None:
    assert recipe_form.ready("flux", "srpo")["name"] == "flux-srpo"
    assert recipe_form.ready("demo", "dpo")["data"] == {"pairs": "demo-pairs"}


def test_every_base_and_method_has_a_name_as_its_makers_write_it_and_the_default_comes_first() -> None:
    for kind, first in (("bases", "demo"), ("methods", "srpo")):
        shown = recipe_form.choices(kind)
        assert shown[0][1] == first
        assert all(label != name.replace("_", " ") for label, name in shown)
