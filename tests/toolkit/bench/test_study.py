"""The shipped bench: every method of the table, sweeps of one size, disjoint seeds; and lengths that meet budgets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import catalogue
from toolkit.bench import study
from toolkit.bench.methods import Lengths, lengths

STUDY = study.read()
SAME = {"sipo": "sdpo"}  # another name of the same thing


def test_every_method_has_an_arm_of_its_own():
    swept = {arm.method["name"] for arm in STUDY.arms.values() if arm.sweep}
    assert swept == set(catalogue.load()["methods"]) - set(SAME)


def test_every_sweep_has_as_many_candidates_and_all_are_different():
    for candidates in STUDY.sweeps.values():
        assert len(candidates) == 4
        assert len({tuple(sorted(candidate.items())) for candidate in candidates}) == 4


def test_no_sweep_sees_a_seed_of_the_report():
    assert STUDY.budget.sweep_seed not in STUDY.budget.seeds


@pytest.mark.parametrize("name", STUDY.arms)
def test_every_arm_is_a_recipe_whose_scorers_stay_apart(name, tmp_path):
    for settings in STUDY.candidates(name):
        content = STUDY.made_recipe(name, tmp_path, settings)
        assert content.name == study.slug(name)
        assert content.validation.scorer.name == "demo_second"
        assert study.MADE not in content.to_yaml()


def test_what_is_learned_from_lies_below_the_benchs_folder(tmp_path):
    assert STUDY.made_recipe("dpo", tmp_path, {}).data.pairs == str(tmp_path / "pairs")
    mixture = STUDY.made_recipe("direct_align, two rewards", tmp_path, {}).reward.settings["parts"]
    assert mixture[1]["reward"]["tuned"] == str(tmp_path / "tuned.safetensors")


def test_a_group_counts_every_member(tmp_path):
    counted = {name: study.samples_per_update(STUDY.made_recipe(name, tmp_path, {})) for name in ("dpo", "flow_grpo")}
    assert counted == {"dpo": 8, "flow_grpo": 4 * 8}


def test_a_question_about_an_unknown_arm_is_refused():
    tree = STUDY.model_dump(mode="json")
    tree["questions"][0]["arms"][0] = "spro"
    with pytest.raises(ValueError, match="no arm is called 'spro'"):
        study.Study.model_validate(tree)


@given(st.floats(5, 60), st.floats(0.05, 5), st.integers(1, 64), st.sampled_from([1, 3]))
def test_checks_fall_on_both_ends(seconds, pace, per_update, checks):
    found = lengths(seconds, pace, 240, per_update, checks=checks)
    assert found.wall == max(1, round(seconds / pace))
    assert found.samples == max(1, round(240 / per_update))
    checked = {*range(found.every, found.updates, found.every), found.updates}
    assert {found.wall, found.samples} <= checked
    assert len(checked) >= min(checks, found.updates) or found.every == 1


def test_as_few_checks_as_are_asked_for():
    assert lengths(24, 0.414, 192, 8) == Lengths(wall=58, samples=24, every=24)
    assert lengths(24, 0.414, 192, 8, checks=4) == Lengths(wall=58, samples=24, every=12)
