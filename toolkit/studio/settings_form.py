"""Every setting of a recipe's sections as a form, made from the catalogue's and the recipe's own schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from toolkit import catalogue, recipe
from toolkit.errors import UsageError
from toolkit.recipe_parts import Budget, Lora, Optimizer, Validation
from toolkit.studio import recipe_form
from toolkit.studio.markup import prose, text
from toolkit.studio.speech import paragraph, phrase, say, told

# section of the recipe → its title, and where its schema comes from
CHOSEN = {"method": phrase("Method settings"), "base": phrase("Base settings")}
PARTS: Mapping[str, tuple[str, type[BaseModel]]] = {
    "lora": ("LoRA", Lora),
    "optimizer": (phrase("Optimizer"), Optimizer),
    "training": (phrase("Training"), Budget),
    "validation": (phrase("Checks and previews"), Validation),
}
LIMITS = {
    "minimum": phrase("At least {limit}."), "exclusiveMinimum": phrase("Above {limit}."),
    "maximum": phrase("At most {limit}."), "exclusiveMaximum": phrase("Below {limit}."),
}  # fmt: skip


@dataclass(frozen=True)
class Wrong:
    """What was typed into one field and cannot be."""

    section: str
    setting: str
    typed: str
    error: UsageError


def schemas(content: str) -> dict[str, Mapping[str, Any]]:
    """section → setting → its JSON schema, of this recipe's method and base and of what all have. Raises UsageError."""
    fields = recipe_form.fields(content)
    chosen = {"method": ("methods", fields.method), "base": ("bases", fields.base)}
    found = {section: catalogue.find(*entry).settings.get("properties", {}) for section, entry in chosen.items()}
    return found | {section: part.model_json_schema()["properties"] for section, (_, part) in PARTS.items()}


def put(content: str, section: str, setting: str, typed: str) -> str:
    """The YAML with what was typed into a field; an emptied field takes its default. Raises UsageError."""
    schema = schemas(content).get(section, {}).get(setting)
    if schema is None or not (kind := _kind(schema)):
        raise UsageError(say("There is no such setting."), action=say("Reload the page."))
    if not typed.strip() and not _may_be_empty(schema):
        return recipe_form.take_out(content, section, setting)
    value = _value(kind, typed.strip())
    _check(content, section, setting, value)
    return recipe_form.put(content, {f"{section}.{setting}": value})


def _value(kind: str, typed: str) -> Any:
    if not typed and kind != "string":
        return None
    try:
        return {"integer": int, "number": _number, "boolean": lambda said: said == "true"}.get(kind, str)(typed)
    except ValueError:
        no_number = phrase("“{typed}” is no whole number.") if kind == "integer" else phrase("“{typed}” is no number.")
        raise UsageError(say(no_number, typed=typed[:40])) from None


def _number(typed: str) -> float | int:
    value = float(typed)
    return int(value) if value.is_integer() and "." not in typed and "e" not in typed.casefold() else value


def _check(content: str, section: str, setting: str, value: Any) -> None:
    if section in PARTS:
        try:
            PARTS[section][1].model_validate({setting: value})
        except ValidationError as error:
            raise UsageError(recipe.explain(error)) from None
        return
    fields = recipe_form.fields(content)
    kind, name = ("methods", fields.method) if section == "method" else ("bases", fields.base)
    catalogue.check_settings(kind, name, {setting: value})


def drawn(content: str, wrong: Wrong | None = None) -> str:
    """The whole form; `wrong` is said at its field, which keeps what was typed. Nothing for what is no recipe."""
    try:
        known = schemas(content)
    except UsageError:
        return ""
    return "".join(_section(content, section, schema, wrong) for section, schema in known.items())


def _section(content: str, section: str, schemas_: Mapping[str, Any], wrong: Wrong | None) -> str:
    title = CHOSEN.get(section) or PARTS[section][0]
    given = recipe_form.settings(content, section)
    rows = [
        _field(section, name, schema, given.get(name, schema.get("default")), wrong)
        for name, schema in schemas_.items()
        if _kind(schema)
    ]
    if not rows:
        return ""
    changed = sum(name in given and given[name] != schema.get("default") for name, schema in schemas_.items())
    others = say("{changed} of {all} not at their defaults", changed=changed, all=len(rows))
    count = f' <span class="quiet">{others}</span>' if changed else ""
    is_open = " open" if wrong and wrong.section == section else ""
    return (
        f'<details class="setting-group" data-key="settings-{section}"{is_open}><summary>{say(title)}{count}</summary>'
        f'<div class="setting-rows">{"".join(rows)}</div></details>'
    )


def _field(section: str, name: str, schema: Mapping[str, Any], value: Any, wrong: Wrong | None) -> str:
    key = f"{section}-{name}".replace("_", "-")
    is_wrong = wrong is not None and (wrong.section, wrong.setting) == (section, name)
    said = f'<span class="bad" role="alert">{prose(told(str(wrong.error)))}</span>' if wrong and is_wrong else ""
    shown = wrong.typed if wrong and is_wrong else value
    marks = (
        f'data-section="{section}" data-setting="{text(name)}" data-key="set-{key}" aria-describedby="about-{key}"'
        + (' aria-invalid="true"' if is_wrong else "")
    )
    help_ = f"{prose(told(schema.get('description', '')))} {text(_range(schema))}"
    return (
        f'<div class="setting"><label><span>{text(name.replace("_", " "))}</span>'
        f'{_control(schema, shown, marks)}</label><p class="quiet" id="about-{key}">{help_}</p>{said}</div>'
    )


def _control(schema: Mapping[str, Any], value: Any, marks: str) -> str:
    kind = _kind(schema)
    if choices := schema.get("enum") or (kind == "boolean" and [True, False]):
        options = "".join(
            f"<option{' selected' * (choice == value)}>{text(_written(choice))}</option>" for choice in choices
        )
        return f"<select {marks}>{options}</select>"
    mode = {"integer": "numeric", "number": "decimal"}.get(str(kind), "text")
    empty = f' placeholder="{say("off")}"' if _may_be_empty(schema) else ""
    return f'<input type="text" inputmode="{mode}" value="{text(_written(value))}"{empty} {marks}>'


def _written(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _range(schema: Mapping[str, Any]) -> str:
    """`At least 0. At most 1. Default 0.5.`"""
    plain = _plain(schema)
    limits = [say(sentence, limit=f"{plain[name]:,.10g}") for name, sentence in LIMITS.items() if name in plain]
    default = schema.get("default")
    ending = say("Default {value}.", value=_written(default)) if default not in (None, "") else ""
    return paragraph(*limits, ending)


def _plain(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without the choice of leaving it empty."""
    return next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)


def _may_be_empty(schema: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "null" for one in schema.get("anyOf", ())) or _plain(schema).get("type") == "string"


def _kind(schema: Mapping[str, Any]) -> str | None:
    """number, integer, boolean or string; None for what is written in the YAML alone."""
    kind = _plain(schema).get("type")
    return kind if kind in ("number", "integer", "boolean", "string") else None
