"""A recipe is refused for what is wrong with it, in words, and otherwise survives every round trip."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolkit import catalogue, recipe
from toolkit.errors import UsageError

WORDS = {"positive": "3d render", "negative": "line art"}
BLIND = catalogue.Entry(
    name="blind", summary="Ignores text.", gives=("differentiable",), settings={"type": "object", "properties": {}}
)


def refusal(content: Any, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        recipe.parse(content, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.fixture
def with_a_blind_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    known = catalogue.load()
    table = {**known, "rewards": {**known["rewards"], "blind": BLIND}}
    monkeypatch.setattr(catalogue, "load", lambda: table)


@pytest.mark.parametrize(
    ("content", "wrong", "nearest"),
    [
        ({"traning": {}}, "traning", "training"),
        ({"training": {"upates": 3}}, "training.upates", "updates"),
        ({"optimizer": {"learning_rte": 1e-4}}, "optimizer.learning_rte", "learning_rate"),
        ({"lora": {"rnk": 4}}, "lora.rnk", "rank"),
        ({"prompts": {"tests": "x.txt"}}, "prompts.tests", "test"),
        ({"validation": {"evry": 2}}, "validation.evry", "every"),
        ({"words": {**WORDS, "wieght": 1}}, "words.0.wieght", "weight"),
        ({"words": [WORDS, {**WORDS, "wieght": 1}]}, "words.1.wieght", "weight"),
        ({"words": WORDS, "method": {"name": "srpo", "rolout_steps": 3}}, "rolout_steps", "rollout_steps"),
        ({"words": WORDS, "base": {"name": "demo", "wieghts": "x"}}, "wieghts", "weights"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(content: Any, wrong: str, nearest: str) -> None:
    said = refusal(content)
    assert f"`{wrong}`" in said
    assert f"Did you mean `{nearest}`?" in said


@pytest.mark.parametrize(("part", "name"), [("method", "spro"), ("base", "dmo"), ("reward", "demos")])
def test_an_unknown_choice_is_refused_with_the_nearest_known_one(part: str, name: str) -> None:
    said = refusal({"words": WORDS, part: name})
    assert f"There is no {part} `{name}`." in said
    assert "Did you mean" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"training": {"updates": 0}}, ["training.updates", "greater than or equal to 1"]),
        ({"training": {"updates": "many"}}, ["training.updates", "integer"]),
        ({"training": 5}, ["training"]),
        ({"name": "../elsewhere"}, ["name"]),
        ({"words": {"positive": "3d render"}}, ["words.0.negative", "required"]),
        ({"words": {"positive": "Line  art", "negative": "line art"}}, ["the two must differ"]),
        ({"words": WORDS, "method": {"name": "srpo", "rollout_steps": 0}}, ["srpo.rollout_steps", "0"]),
        (["a", "list"], ["`key: value` lines"]),
        (None, ["`key: value` lines"]),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(content: Any, words: list[str]) -> None:
    said = refusal(content)
    for word in words:
        assert word in said


def test_overrides_change_single_settings() -> None:
    parsed = recipe.parse(
        {"words": WORDS, "method": "srpo", "training": {"updates": 7}},
        {"training.updates": 3, "method.rollout_steps": 4, "validation.scorer.name": "demo_second", "words.weight": 2},
    )
    assert parsed.training.updates == 3
    assert parsed.method == recipe.Section(name="srpo", settings={"rollout_steps": 4})
    assert parsed.words[0].weight == 2


def test_an_override_of_a_whole_section_drops_its_old_settings() -> None:
    content = {"words": WORDS, "method": {"name": "srpo", "known_share": 0.7}}
    assert recipe.parse(content, {"method": "refl"}).method == recipe.Section(name="refl")


def test_an_override_below_a_plain_value_is_refused() -> None:
    assert "does not name a setting" in refusal({"training": {"updates": 3}}, {"training.updates.more": 1})


def test_a_number_without_a_dot_is_a_number_in_every_place() -> None:
    """YAML 1.1 reads 1e-1 as text."""
    content = yaml.safe_load("method: {name: srpo, sigma_low: 1e-1}\noptimizer: {learning_rate: 1e-4}")
    parsed = recipe.parse({**content, "words": WORDS})
    assert parsed.method.settings["sigma_low"] == 0.1
    assert parsed.optimizer.learning_rate == 1e-4


@pytest.mark.usefixtures("with_a_blind_reward")
def test_srpo_is_refused_with_a_reward_that_ignores_text() -> None:
    said = refusal({"words": WORDS, "method": "srpo", "reward": "blind"})
    assert "`srpo` compares words, but the reward `blind` ignores text" in said
    plain = {"name": "direct_align", "preference": "plain"}
    assert recipe.parse({"words": WORDS, "method": plain, "reward": "blind"}).reward.name == "blind"


@pytest.mark.usefixtures("with_a_blind_reward")
@pytest.mark.parametrize("method", ["direct_align", {"name": "refl", "preference": "relative"}])
def test_comparing_words_with_a_reward_that_ignores_them_is_refused(method: Any) -> None:
    said = refusal({"words": WORDS, "method": method, "reward": "blind"})
    assert "would learn nothing: `blind` ignores text, so both words score the same." in said
    assert "Set `method.preference` to `plain`" in said


@pytest.mark.usefixtures("with_a_blind_reward")
def test_a_scorer_that_ignores_text_may_not_choose_between_words() -> None:
    said = refusal({"words": WORDS, "validation": {"scorer": "blind"}})
    assert "`blind` ignores text and cannot tell which checkpoint follows the words." in said


def test_the_judge_may_neither_train_nor_choose() -> None:
    as_reward = refusal({"words": WORDS, "reward": "demo_judge"})
    as_scorer = refusal({"words": WORDS, "validation": {"scorer": "demo_judge"}})
    assert "`demo_judge` judges the final report and may not be the reward" in as_reward
    assert "may not be the validation scorer" in as_scorer
    assert "demo_second" in as_scorer


def test_the_trained_reward_may_not_choose_the_checkpoint() -> None:
    said = refusal({"words": WORDS, "reward": "demo", "validation": {"scorer": "demo"}})
    assert "both trained on and used to choose" in said
    assert "demo_second" in said


def test_srpo_without_words_is_refused() -> None:
    assert "needs a control-word pair" in refusal({"method": "srpo"})


@pytest.mark.parametrize("method", ["refl", {"name": "flow_grpo", "preference": "positive"}])
def test_comparing_words_without_words_is_refused(method: Any) -> None:
    assert "needs a control-word pair. Add words" in refusal({"method": method})
    name = method if isinstance(method, str) else method["name"]
    assert recipe.parse({"method": {"name": name, "preference": "plain"}}).words == ()


def test_a_reward_without_gradient_trains_a_group_method() -> None:
    content = {"words": WORDS, "method": "nft", "reward": "remote"}
    assert recipe.parse(content).reward.name == "remote"
    assert "or a method that needs none, such as `nft`" in refusal(content | {"method": "srpo"})


def test_a_recipe_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    for content in (b"name: [", b"\xff\xfe\x00", b"- a\n- b\n"):
        path.write_bytes(content)
        with pytest.raises(UsageError):
            recipe.read(path)
    with pytest.raises(UsageError, match="does not exist"):
        recipe.read(tmp_path / "missing.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        recipe.read(tmp_path)


def test_prompt_files_are_found_beside_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("words: {positive: a, negative: b}\nprompts: {train: lists/mine.txt}\n")
    prompts = recipe.read(path).prompts
    assert prompts.train == str(tmp_path / "lists" / "mine.txt")
    assert prompts.test == "demo:test"


@pytest.mark.parametrize(
    ("base", "side", "unit", "near"), [("flux", 721, 16, 720), ("sd15", 517, 8, 520), ("wan", 488, 16, 480)]
)
def test_a_size_that_is_no_whole_number_of_latents_is_refused_with_the_nearest(
    base: str, side: int, unit: int, near: int
) -> None:
    said = f"`{base}.width` cannot be {side}: it must be a multiple of {unit}, and the nearest is {near}"
    content = {"base": base, "words": WORDS}
    with pytest.raises(UsageError, match=said):
        recipe.parse(content, {"base.width": side})
    recipe.parse(content, {"base.width": near})


def test_the_digest_ignores_the_name_and_nothing_that_trains() -> None:
    first = recipe.parse({"words": WORDS})
    for key, value in (("name", "other"), ("trackers", ["wandb"]), ("validation.batch_size", 1)):
        assert recipe.parse({"words": WORDS}, {key: value}).digest() == first.digest()
    for key, value in (("training.seed", 1), ("words.weight", 2), ("method.rollout_steps", 9), ("lora.rank", 4)):
        assert recipe.parse({"words": WORDS, "method": "srpo"}, {key: value}).digest() != first.digest()


word = st.text(min_size=1, max_size=20).filter(lambda text: text.strip())
pairs = st.tuples(word, word, st.floats(0.01, 100)).filter(
    lambda pair: " ".join(pair[0].casefold().split()) != " ".join(pair[1].casefold().split())
)


@given(
    words=st.lists(pairs, min_size=1, max_size=3),
    rate=st.floats(1e-9, 1.0),
    seed=st.integers(0, 2**31 - 1),
    sigma=st.floats(0.01, 0.5),
    rank=st.integers(1, 512),
    layers=st.sampled_from(["attention", "all"]),
)
def test_yaml_gives_back_the_same_recipe(
    words: list[tuple[str, str, float]], rate: float, seed: int, sigma: float, rank: int, layers: str
) -> None:
    first = recipe.parse(
        {
            "words": [{"positive": p, "negative": n, "weight": w} for p, n, w in words],
            "method": {"name": "srpo", "sigma_low": sigma},
            "optimizer": {"learning_rate": rate},
            "training": {"seed": seed},
            "lora": {"rank": rank, "layers": layers},
        }
    )
    again = recipe.parse(yaml.safe_load(first.to_yaml()))
    assert again == first
    assert again.digest() == first.digest()


@pytest.mark.parametrize("path", sorted(Path(recipe.__file__).parents[1].glob("recipes/*.yaml")), ids=lambda p: p.stem)
def test_every_ready_recipe_is_one(path: Path) -> None:
    content = recipe.read(path)
    assert content.words or content.data.kind
    assert path.read_text(encoding="utf-8").startswith("# ")


def mixed(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"words": WORDS, "reward": {"name": "mixture", "parts": [{"reward": part} for part in parts]}, **more}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"words": WORDS, "reward": "laion_aesthetic"}, "the reward `laion_aesthetic` ignores text"),
        (mixed("aesthetic_v25", "laion_aesthetic"), "the reward `mixture` ignores text"),
        (mixed("hpsv21", "demo_judge"), "`demo_judge` judges the final report and may not be the reward"),
        (mixed("hpsv21", "demo_second"), "`demo_second` is both trained on and used to choose the best checkpoint"),
        (mixed("hpsv21", {"name": "clip", "varint": "cosine"}), "`clip` has no setting `varint`."),
        (mixed("hpsv21", "clpi"), "There is no reward `clpi`. Did you mean `clip`?"),
        (mixed("hpsv21", {"variant": "cosine"}), "`mixture.parts.1.reward` cannot be"),
        (mixed(), "`mixture.parts` cannot be []"),
        (mixed({"name": "mixture", "parts": [{"reward": "demo_judge"}]}), "`demo_judge` judges the final report"),
    ],
)  # fmt: skip
def test_a_mixture_is_held_to_what_its_parts_can_do(content: dict[str, Any], words: str) -> None:
    assert words in refusal(content)


def test_a_mixture_is_refused_as_second_scorer_when_a_part_is_trained_on() -> None:
    scorer = {"name": "mixture", "parts": [{"reward": "pickscore"}, {"reward": "demo"}]}
    assert "`demo` is both trained on" in refusal({"words": WORDS, "validation": {"scorer": scorer}})


@pytest.mark.usefixtures("with_a_blind_reward")
def test_a_mixture_has_a_gradient_only_if_each_part_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    steep = catalogue.Entry(name="steps", summary="", gives=("text_conditioned",), settings=BLIND.settings)
    table = {**catalogue.load(), "rewards": {**catalogue.load()["rewards"], "steps": steep}}
    monkeypatch.setattr(catalogue, "load", lambda: table)
    assert recipe.parse(mixed("blind", "hpsv21"))
    assert "follows the reward's gradient, but `mixture` has none" in refusal(mixed("steps", "hpsv21"))


def test_a_mixture_may_train_and_survives_the_round_trip() -> None:
    checked = recipe.parse(mixed("hpsv21", {"name": "clip", "variant": "percent"}, "laion_aesthetic"))
    assert recipe.parse(yaml.safe_load(checked.to_yaml())) == checked
    assert recipe.parse({"words": WORDS, "reward": "mixture"}).reward.name == "mixture"
