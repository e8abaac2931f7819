"""Forms made from schemas: every setting of every method and base has a field, its limits hold, and text stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import yaml

from toolkit import catalogue
from toolkit.errors import UsageError
from toolkit.studio import recipe_form, settings_form
from toolkit.studio.settings_form import Wrong

HOSTILE = '<script>alert(1)</script> {{value}} ${value} `x` "quoted"'


class Tags(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize("method", list(catalogue.load()["methods"]))
def test_every_setting_of_a_method_has_a_labelled_field_with_its_default(method: str) -> None:
    drawn = Tags(settings_form.drawn(f"method: {method}"))
    fields = {a["data-setting"]: a for _, a in drawn.seen if a.get("data-section") == "method"}
    known = catalogue.find("methods", method).settings["properties"]
    assert set(fields) == set(known)
    helps = {attributes.get("id") for _, attributes in drawn.seen}
    assert all(attributes["aria-describedby"] in helps for attributes in fields.values())
    keys = [attributes["data-key"] for _, attributes in drawn.seen if "data-key" in attributes]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", list(recipe_form.shipped()))
def test_what_a_recipe_says_can_be_typed_into_its_own_form_and_changes_nothing(name: str) -> None:
    content = recipe_form.opened(name)
    before = yaml.safe_load(content)
    for section, known in settings_form.schemas(content).items():
        for setting, value in recipe_form.settings(content, section).items():
            if settings_form._kind(known[setting]) is None:
                continue
            typed = settings_form._written(value)
            after = yaml.safe_load(settings_form.put(content, section, setting, typed))
            if typed or settings_form._may_be_empty(known[setting]):
                assert after[section][setting] == before[section][setting], (section, setting)


@pytest.mark.parametrize(
    ("section", "setting", "typed", "said"),
    [
        ("method", "sigma_low", "-1", "-1"), ("method", "rollout_steps", "two", "no whole number"),
        ("method", "rollout_steps", "1.5", "no whole number"), ("method", "levels", "nan", "nan"),
        ("lora", "rank", "0", "greater than or equal to 1"), ("optimizer", "learning_rate", "inf", "less than"),
        ("training", "dtype", "float8", "float32"), ("method", "no_such", "1", "no such setting"),
        ("no_such", "rank", "1", "no such setting"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(section: str, setting: str, typed: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        settings_form.put(recipe_form.first(), section, setting, typed)


def test_an_emptied_field_takes_its_default_or_is_off() -> None:
    content = settings_form.put(recipe_form.first(), "lora", "rank", "8")
    assert yaml.safe_load(content)["lora"]["rank"] == 8
    assert "rank" not in yaml.safe_load(settings_form.put(content, "lora", "rank", " "))["lora"]
    assert yaml.safe_load(settings_form.put(content, "method", "margin", ""))["method"]["margin"] is None


def test_a_wrong_value_is_said_at_its_field_and_kept_and_stays_text() -> None:
    wrong = Wrong("lora", "rank", HOSTILE, UsageError(HOSTILE))
    drawn = settings_form.drawn(recipe_form.first(), wrong)
    marked = [attributes for _, attributes in Tags(drawn).seen if "aria-invalid" in attributes]
    assert [(one["data-setting"], one["value"]) for one in marked] == [("rank", HOSTILE)]
    assert "script" not in {tag for tag, _ in Tags(drawn).seen}
    assert "{{" not in drawn
    assert drawn.count(" open>") == 1
    assert settings_form.drawn("a: [") == ""
