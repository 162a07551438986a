"""What the command line says of a training, put over what a recipe says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def training_settings(
    config: Path | None,
    named: Mapping[str, Any],
    *,
    transfer: Mapping[str, Any],
    set_: Sequence[str] | None,
) -> dict[str, Any]:
    """Nested settings for `config.fill`: those of the file, then of the options, then of `--set`.

    Args:
        config: A recipe or a run's config.yaml.
        named: Options of `TrainOptions` by their names; None where one was not given.
        transfer: Those of `TransferOptions`.
        set_: `a.b=c` each.

    Raises:
        OptionError: a setting that is no `a.b=c`, or a file that is no YAML or whose `options` are no mapping.
    """
    from pixelwise.config import parse_settings

    settings = ({} if config is None else _recipe(config)) | _given(named)
    if "minutes" in _given(named) or "epochs" in _given(named):  # one budget given replaces the file's
        settings |= {"minutes": named["minutes"], "epochs": named["epochs"]}
    if _given(transfer):
        settings = _merged(settings, {"transfer": _given(transfer)})
    return _merged(settings, parse_settings(set_ or []))


def _recipe(path: Path) -> dict[str, Any]:
    from pixelwise.config import read_yaml
    from pixelwise.errors import OptionError

    document = read_yaml(path)
    options = document.get("options", document)
    if not isinstance(options, dict):
        raise OptionError(f"options is {options!r}", file=path, remedy="write `name: value` lines below it")
    return options


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
