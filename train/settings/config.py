"""From words to a configuration: presets, files and options, laid over one another.

Later sources win: preset layers, then a TOML file, then options, then `--set key=value`. What can be set stands in the
folders of `lowzoo.train.recipes`, the values of the papers in the presets there. A preset may name others that it lies
over (`extends = ["seed"]`). A table `[view.NAME]` changes fields of the group of views of that name and leaves the
others as they are.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from lowzoo.base.errors import LowzooError, first_misfit
from lowzoo.catalog import near_matches
from lowzoo.io.text_file import read_text
from lowzoo.train.heads import HeadSpec
from lowzoo.train.recipes import RECIPES, owner_of_preset
from lowzoo.train.recipes.base import LENGTHS, TaughtConfig, TrainConfig
from lowzoo.train.views import ViewGroup


def resolve(
    preset: str | Sequence[str] | Mapping[str, Any],
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
) -> TrainConfig:
    """Lay the sources over one another and validate the result.

    Args:
        preset: Name of a preset (`rob_dino`), or several, later ones over earlier ones; or fields to begin with.
        file: A TOML file with any fields.
        options: Fields given on the command line; None values are left out.
        settings: `key=value` words; a dot descends (`student_head.hidden=512`), the value is TOML or a bare word.

    Raises:
        LowzooError: An unknown key, an impossible value, an unreadable file.
    """
    fields: dict[str, Any] = dict(preset) if isinstance(preset, Mapping) else {}
    for layer in [preset] if isinstance(preset, str) else () if isinstance(preset, Mapping) else preset:
        fields = _merge(fields, preset_fields(layer))
    return validate(_merge(fields, named_fields(file, options, settings)))


def named_fields(
    file: Path | None = None, options: Mapping[str, Any] | None = None, settings: Sequence[str] = ()
) -> dict[str, Any]:
    """The fields that a user has named, later sources over earlier ones; see `resolve`.

    Raises:
        LowzooError: An unreadable file, a word without a value, a length of nothing, two lengths at once.
    """
    fields: dict[str, Any] = read_toml(file) if file is not None else {}
    given = {key: value for key, value in (options or {}).items() if value is not None}
    if len(both := [key for key in LENGTHS if key in given]) > 1:
        raise LowzooError(
            f"--{both[0]} and --{both[1]} both give the length of the run", f"Leave out --{both[0]} or --{both[1]}"
        )
    fields = _merge(fields, given)
    for setting in settings:
        fields = _merge(fields, _parse_setting(setting))
    lengths = [key for key in LENGTHS if key in fields]
    if lengths and not any(fields[key] for key in lengths):
        raise LowzooError(
            f"{lengths[-1]} = {fields[lengths[-1]]} leaves no time to train", f"Give more {lengths[-1]}, or none of it"
        )
    return fields


def validate(fields: Mapping[str, Any]) -> TrainConfig:
    """The configuration of these fields, of the recipe that they name.

    Raises:
        LowzooError: The first unknown key or impossible value, by name.
    """
    recipe = fields.get("recipe", "rob")
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise LowzooError(
            f"recipe = {recipe!r} is impossible",
            f"Choose one of {', '.join(RECIPES)}, or install the package that brings it",
        )
    model: type[TrainConfig] = config_class(recipe)
    try:
        return model.model_validate(_patch_views(fields))
    except ValidationError as error:
        first = error.errors()[0]
        key, reason = first_misfit(error)
        if first["type"] == "extra_forbidden":
            parts: dict[str, type[BaseModel]] = {"student_head": HeadSpec, "views": ViewGroup}
            known = parts.get(key.partition(".")[0], model).model_fields
            near = near_matches(key.rpartition(".")[2], known)
            raise LowzooError(
                f"unknown configuration key {key!r}{near}", f"See `lowzoo train {recipe} --help`"
            ) from None
        if first["type"] == "missing":
            raise LowzooError(
                f"the settings give no {key}", f"Write it into the preset or the file, or use --set {key}=VALUE"
            ) from None
        where = f"{key} = {first['input']!r} is impossible" if key else "the configuration is impossible"
        raise LowzooError(f"{where}: {reason[:1].lower()}{reason[1:]}", "Change it and run again") from None


def checked(recipe: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the numbers that their words mean, before settings follow from them.

    What is missing or does not go together may come yet; a value of no use is refused.

    Args:
        recipe: Whose.
        fields: What a user has named, see `named_fields`.

    Raises:
        LowzooError: The first impossible value, by name.
    """
    _view_changes(fields)
    model = config_class(recipe)
    try:
        model.model_validate(fields)
    except ValidationError as error:
        for found in error.errors():
            place, kind = found["loc"], found["type"]
            if place and place[0] in fields and kind not in ("missing", "extra_forbidden", "value_error"):
                reason = found["msg"]
                raise LowzooError(
                    f"{place[0]} = {fields[str(place[0])]!r} is impossible: {reason[:1].lower()}{reason[1:]}",
                    "Change it and run again",
                ) from None
    return {key: _meant(model, key, value) for key, value in fields.items()}


def _meant(model: type[TrainConfig], key: str, value: Any) -> Any:
    """The value that a configuration would hold where a word or number stands; anything else as it is."""
    if key not in model.model_fields or not isinstance(value, str | int | float):
        return value
    try:
        return TypeAdapter(model.model_fields[key].rebuild_annotation()).validate_python(value)
    except ValidationError:  # what the whole configuration makes of it, alone it may not be
        return value


def _view_changes(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tables `view.NAME`."""
    changes: Mapping[str, Any] = fields.get("view", {})
    tables: dict[str, Any] = {"view": changes}
    if isinstance(changes, Mapping):
        tables |= {f"view.{name}": change for name, change in changes.items()}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise LowzooError(
                f"{name} = {table!r} names no field of a view", "Write for example --set view.global.size=96"
            )
    return changes


def _patch_views(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lay each table `view.NAME` over the group of views of that name."""
    changes = _view_changes(fields)
    patched = {key: value for key, value in fields.items() if key != "view"}
    groups = [dict(group) for group in patched.get("views", ()) if isinstance(group, Mapping)]
    for name, change in changes.items():
        found = [group for group in groups if group.get("name") == name]
        if not found:
            names = ", ".join(str(group.get("name")) for group in groups) or "none"
            raise LowzooError(f"view.{name} names no group of views", f"Choose one of {names}")
        for group in found:
            group.update(change)
    return {**patched, "views": groups} if changes else patched


def config_class(recipe: str) -> type[TrainConfig]:
    """The configuration class of a recipe.

    Raises:
        LowzooError: It is not what the recipe's declaration says.
    """
    declared = RECIPES[recipe]
    found: type[TrainConfig] = declared.config()
    wanted = TaughtConfig if declared.needs.teacher else TrainConfig
    if not issubclass(found, wanted):
        raise LowzooError(
            f"the configuration of recipe {recipe}, {found.__name__}, is no {wanted.__name__}",
            "Report this to the recipe's authors",
        )
    return found


def preset_fields(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a preset, laid over those that it extends.

    Args:
        name: Name of the preset.
        above: Presets that extend it.

    Raises:
        LowzooError: No such preset, one that extends itself, or no TOML.
    """
    if name in above:
        raise LowzooError(f"preset {name} extends itself, by {' and '.join(above)}", "Mend its `extends`")
    try:
        own = tomllib.loads(preset_text(name))
    except tomllib.TOMLDecodeError as error:
        raise LowzooError(f"preset {name} is not TOML: {error}", "Mend it") from None
    fields: dict[str, Any] = {}
    for below in own.pop("extends", ()):
        fields = _merge(fields, preset_fields(below, (*above, name)))
    return _merge(fields, own)


def preset_text(name: str) -> str:
    """The TOML text of a preset of any recipe.

    Raises:
        LowzooError: No recipe has it.
    """
    return owner_of_preset(name).preset_text(name)


def preset_names() -> list[str]:
    """The presets of all recipes."""
    return sorted(name for recipe in RECIPES.specs() for name in recipe.preset_names())


def to_toml(config: BaseModel) -> str:
    """The configuration as TOML that `resolve` reads back to the same value."""
    fields = config.model_dump(mode="json", exclude_none=True)
    plain = {key: value for key, value in fields.items() if not _is_table(value)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in fields.items():
        for table in [value] if isinstance(value, dict) else value if _is_table(value) else []:
            lines += ["", f"[{key}]" if isinstance(value, dict) else f"[[{key}]]"]
            lines += [f"{name} = {_toml_value(item)}" for name, item in table.items()]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml_value(item)}" for key, item in value.items()) + "}"
    return repr(value)


def read_toml(file: Path, remedy: str = "Name a TOML file with --config") -> dict[str, Any]:
    """The tables of a TOML file, which may have been edited by hand.

    Names in it may be bytes that are not UTF-8, as `to_toml` leaves them.

    Raises:
        LowzooError: It cannot be read, or is no TOML.
    """
    text = read_text(file, "a configuration", remedy, errors="surrogateescape")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LowzooError(f"{file} is not TOML: {error}", "Mend the file") from None


def setting_words(settings: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    """`key=value` words for settings that a program names: `{"student_head.hidden": 512}`.

    Raises:
        LowzooError: A value that TOML has no form for.
    """
    if not isinstance(settings, Mapping):
        return (settings,) if isinstance(settings, str) else tuple(settings)
    return tuple(f"{key}={_toml_value(_plain(value, key))}" for key, value in settings.items())


def _plain(value: Any, key: str) -> Any:
    """A value of TOML: numpy's numbers, tuples and paths as what they mean."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, key) for item in value]
    if isinstance(value, Path):
        return str(value)
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, bool | int | float | str):
        raise LowzooError(
            f"the setting {key} is a {type(value).__name__}, which no configuration has",
            "Give a number, a text, true or false, or lists and mappings of these",
        )
    return value


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    if not key.strip() or not equals:
        raise LowzooError(f"--set {setting!r} is not of the form key=value", "Write for example --set epochs=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`; tables are merged, everything else is replaced."""
    if "views" in high:  # changes of other groups of views than these
        low = {key: value for key, value in low.items() if key != "view"}
    # Another length takes the place of the one below, whatever it is given by.
    lengths = [key for key in LENGTHS if high.get(key)]
    merged = {key: value for key, value in low.items() if not lengths or key not in LENGTHS}
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged
