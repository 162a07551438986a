"""From YAML files and `--set a.b=c` into the option types; knows none of them by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from pixelwise.errors import OptionError, PixelwiseError, close_matches

Options = TypeVar("Options")
WORDS = {bool: "true, false", int: "whole number", float: "number", str: "text", type(None): "null"}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        OptionError: the file is missing, is not YAML or holds something other than a mapping.
    """
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        # ValueError: no UTF-8, or a date that does not exist
        raise OptionError(
            f"cannot be read as YAML: {in_a_line(error)}", file=path, remedy="mend or choose another"
        ) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise OptionError(f"holds a {type(value).__name__}", file=path, remedy="write `name: value` lines")
    return value


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`["optim.lr=1e-3", "augment.flip=false"]` to a nested mapping; values are read as YAML.

    >>> parse_settings(["loss.smoothing=0.1", "loss.overlap=iou", "batch=4"])
    {'loss': {'smoothing': 0.1, 'overlap': 'iou'}, 'batch': 4}
    """
    nested: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise OptionError(
                f"--set {setting!r}", remedy="write --set name=value, such as --set optim.lr=1e-3"
            )
        try:
            value = yaml.safe_load(text)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            # ValueError: a date that does not exist
            raise OptionError(f"--set {setting!r}: {in_a_line(error)}", remedy="quote the value") from error
        place = nested
        *folders, leaf = key.split(".")
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                raise OptionError(
                    f"--set {setting!r}: {folder} has a value already", remedy="set one of them"
                )
        place[leaf] = value
    return nested


def fill(base: Options, settings: Mapping[str, Any], *, where: str = "") -> Options:
    """A copy of the option dataclass `base` with `settings` put in, recursively.

    Raises:
        OptionError: an unknown name (with the nearest known one) or a value of the wrong type or range.
    """
    hints = get_type_hints(type(base))
    fields = {field.name for field in dataclasses.fields(cast(Any, base))}
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        full = f"{where}{name}"
        if name not in fields:
            raise OptionError(f"no option is called {full!r}", remedy=close_matches(str(name), fields))
        current = getattr(base, name)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            changes[name] = fill(current, value, where=f"{full}.")
        else:
            changes[name] = _convert(full, value, hints[name])
    try:
        return cast(Options, dataclasses.replace(cast(Any, base), **changes))
    except PixelwiseError:
        raise
    except ValueError as error:
        raise OptionError(
            f"{where.rstrip('.') or 'options'}: {error}", remedy="see `pixelwise train --help`"
        ) from error


def dump(options: object) -> dict[str, Any]:
    """An option dataclass as plain values that YAML and JSON can hold; `fill` reads it back."""
    return cast(dict[str, Any], TypeAdapter(type(options)).dump_python(options, mode="json"))


def _convert(name: str, value: Any, hint: Any) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise OptionError(f"{name} is {value!r}", remedy=f"allowed: {_describe(hint)}") from error


def in_a_line(error: Exception) -> str:
    """What went wrong and where, from a YAML parser's message of many lines.

    >>> try: yaml.safe_load("a: [1")
    ... except yaml.YAMLError as error: in_a_line(error)
    "expected ',' or ']', but got '<stream end>' in line 1, column 6"
    """
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())


def _describe(hint: Any) -> str:
    """A type in words that a writer of YAML knows.

    >>> _describe(Literal["nearest", "bilinear"] | None), _describe(tuple[float, float])
    ('nearest, bilinear or null', '[number, number]')
    """
    if get_origin(hint) is Literal:
        return ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return "[" + ", ".join("..." if part is ... else _describe(part) for part in get_args(hint)) + "]"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_describe, get_args(hint)))
    return WORDS.get(hint, str(hint))
