"""Read the classes of a dataset from classes.yaml, codes.txt or CVAT's labelmap.txt."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pixelwise.data.classes import ClassTable, quoted
from pixelwise.data.palette import default_colors, is_color, packed
from pixelwise.errors import ClassesError
from pixelwise.types import MAX_CLASSES, ClassSpec

CLASS_FILES = ("classes.yaml", "classes.yml", "codes.txt", "class_names.txt", "classes.txt", "labelmap.txt")
_MAX_BYTES = 1_000_000
VECTOR_KEYS = ("column", "outside", "tile")  # read by data/labelrules.py
_KEYS = ("classes", "ignore", "values", "palette")
_EXAMPLE = "classes: [{name: background, color: '#000000'}, {name: building, color: '#c0392b'}]"


def read_classes(path: str | Path) -> ClassTable:
    """Read a class table from a YAML file, or from a text file with one name per line.

    Raises:
        ClassesError: missing, unreadable, broken YAML, or a key, name, colour or value that is wrong.
    """
    path = Path(path)
    document = load_document(path)
    try:
        return parse_document(document)
    except ClassesError as error:
        raise ClassesError(error.found, remedy=error.remedy, file=path) from error


def load_document(path: str | Path) -> Any:
    """The YAML of a class file, or its lines as a list of names.

    Raises:
        ClassesError: missing, unreadable, broken YAML.
    """
    path = Path(path)
    text = _text(path)
    if path.suffix.lower() == ".txt" and path.name.lower() != "labelmap.txt":
        return [{"name": line.strip()} for line in text.splitlines() if line.strip()]
    try:
        return _labelmap(text) if path.name.lower() == "labelmap.txt" else _yaml(text)
    except ClassesError as error:
        raise ClassesError(error.found, remedy=error.remedy, file=path) from error


def parse_document(document: Any) -> ClassTable:
    """Build the table from a bare list of classes or a mapping with `classes`, `ignore`, `values`, `palette`.

    Raises:
        ClassesError: a key, name, colour or value is wrong.
    """
    if isinstance(document, list):
        document = {"classes": document}
    if not isinstance(document, Mapping) or not document.get("classes"):
        raise ClassesError("lists no classes", remedy=f"write for instance: {_EXAMPLE}")
    if set(document) & set(VECTOR_KEYS):  # then `values` are texts of a column and not mask values
        _check_keys(document, (*_KEYS, *VECTOR_KEYS), "classes.yaml")
        document = {"classes": document["classes"]}
    _check_keys(document, _KEYS, "classes.yaml")
    specs, declared = _class_specs(document["classes"])  # declared: the classes whose colour is given
    index = {spec.name: position for position, spec in enumerate(specs)}
    values, more_colors = _values(document.get("values"), index)
    ignore, ignore_colors = _ignore(document.get("ignore"))
    palette = document.get("palette", "indices")
    if palette not in ("indices", "colors"):
        raise ClassesError(f"palette is {palette!r}", remedy="write palette: indices or palette: colors")
    colors = {packed(specs[position].color): position for position in declared} | more_colors
    table = ClassTable(specs, ignore, values, colors, ignore_colors, palette == "colors")
    _check_ignore(table)
    return table


def _class_specs(entries: Any) -> tuple[tuple[ClassSpec, ...], list[int]]:
    """The classes, and the positions of those whose colour is given."""
    if not isinstance(entries, list):
        raise ClassesError("classes is not a list", remedy=f"write for instance: {_EXAMPLE}")
    if len(entries) > MAX_CLASSES:
        raise ClassesError(
            f"{len(entries)} classes; at most {MAX_CLASSES} are possible",
            remedy="merge rare classes by values:",
        )
    pairs = [_name_and_color(entry, position) for position, entry in enumerate(entries)]
    _refuse_repeated([name for name, _ in pairs], "class name")
    given = [color for _, color in pairs if color is not None]
    _refuse_repeated(given, "colour")
    free = iter(default_colors(len(pairs), taken=given))
    specs = tuple(ClassSpec(name, color or next(free)) for name, color in pairs)
    return specs, [position for position, (_, color) in enumerate(pairs) if color is not None]


def _name_and_color(entry: Any, position: int) -> tuple[str, str | None]:
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, Mapping):
        raise ClassesError(
            f"class {position} is {entry!r}{_yaml_trap(entry)}", remedy="write {name: ..., color: '#rrggbb'}"
        )
    _check_keys(entry, ("name", "color"), f"class {position}")
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ClassesError(
            f"the name of class {position} is {name!r}, not text{_yaml_trap(name)}",
            remedy=f'put the name in quotes, for instance: name: "{_as_written(name)}"',
        )
    return name.strip(), _color(entry["color"], f"class {name!r}") if "color" in entry else None


def _color(value: Any, where: str) -> str:
    if is_color(value):
        return str(value).lower()
    if isinstance(value, list) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value):
        return "#{:02x}{:02x}{:02x}".format(*value)
    comment = "; YAML takes an unquoted # for a comment" if value is None else ""
    raise ClassesError(
        f"the colour of {where} is {value!r}{comment}",
        remedy="write it in quotes, for instance: color: '#3c1098'",
    )


def _values(entries: Any, index: Mapping[str, int]) -> tuple[dict[int, int] | None, dict[int, int]]:
    """The maps from mask values and from further colours to class indices."""
    if entries is None:
        return None, {}
    if not isinstance(entries, Mapping):
        raise ClassesError(
            "values is not a mapping", remedy="write for instance: values: {0: background, 255: building}"
        )
    values: dict[int, int] = {}
    colors: dict[int, int] = {}
    for key, name in entries.items():
        if not isinstance(name, str) or name not in index:
            close = difflib.get_close_matches(str(name), index, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ClassesError(
                f"values maps {key!r} to {name!r}{_yaml_trap(name)}, which is no class",
                remedy=f"{hint}the classes are: {', '.join(index)}",
            )
        if is_color(key):
            colors[packed(key)] = index[name]
        else:
            values[_mask_value(key, "values")] = index[name]
    return values or None, colors


def _ignore(entries: Any) -> tuple[frozenset[int], frozenset[int]]:
    if entries is None:
        return frozenset(), frozenset()
    if not isinstance(entries, list) or None in entries:
        raise ClassesError(
            "ignore is not a list of mask values", remedy="write ignore: [11], or ignore: ['#000000']"
        )
    colors = frozenset(packed(entry) for entry in entries if is_color(entry))
    return frozenset(_mask_value(entry, "ignore") for entry in entries if not is_color(entry)), colors


def _mask_value(entry: Any, where: str) -> int:
    """A mask value; JSON turns the keys of a mapping into text, hence the digits."""
    if isinstance(entry, str) and entry.removeprefix("-").isdigit():
        return int(entry)
    if type(entry) is not int:
        raise ClassesError(
            f"{where} holds {entry!r}{_yaml_trap(entry)}, which is no mask value",
            remedy="use whole numbers, or colours in quotes as '#rrggbb'",
        )
    return entry


def _check_ignore(table: ClassTable) -> None:
    """Nothing may be a class and ignored at once."""
    values = set(range(len(table.classes))) if table.values is None else set(table.values)
    for value in sorted(table.ignore & values):
        position = value if table.values is None else table.values[value]
        shift = ", ".join(f"{i + 1}: {name}" for i, name in enumerate(table.names))
        raise ClassesError(
            f"value {value} is class {table.names[position]!r} and is in ignore as well",
            remedy=f"say which mask value each class has, without {value}: values: {{{shift}}}"
            if table.values is None
            else f"take {value} out of values or out of ignore",
        )
    for color in sorted(table.ignore_colors & set(table.colors)):
        name = table.names[table.colors[color]]
        raise ClassesError(
            f"the colour '#{color:06x}' is class {name!r} and is in ignore as well",
            remedy="take it out of one of them",
        )


def _check_keys(mapping: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in mapping:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ClassesError(f"unknown key {key!r} in {where}", remedy=f"{hint}known: {', '.join(known)}")


def _refuse_repeated(entries: list[str], what: str) -> None:
    for entry in entries:
        where = [position for position, other in enumerate(entries) if other == entry]
        if len(where) > 1:
            raise ClassesError(
                f"the {what} {entry!r} is given {len(where)} times (positions {', '.join(map(str, where))})",
                remedy=f"keep one of each {what}; several mask values of one class go under values:",
            )


def _yaml_trap(value: Any) -> str:
    if isinstance(value, bool):
        return " (YAML reads yes, no, on and off without quotes as true and false)"
    return ""


def _as_written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "background" if value is None or value == "" else str(value)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a repeated key is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        _refuse_repeated(keys, "key")
        return super().construct_mapping(node, deep=deep)


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ClassesError(
            f"broken YAML{where}: {problem}", remedy=f"write for instance: {_EXAMPLE}"
        ) from error


def _labelmap(text: str) -> Any:
    """CVAT writes `name:r,g,b:parts:actions` per line after a comment."""
    classes = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        color = rest.split(":")[0].split(",")
        if len(color) != 3 or not all(part.strip().isdigit() for part in color):
            raise ClassesError(f"line {number} is {line!r}", remedy="write name:red,green,blue::")
        classes.append({"name": name, "color": [int(part) for part in color]})
    return {"classes": classes, "palette": "colors"}


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > _MAX_BYTES:
            raise ClassesError(
                f"{len(data)} bytes are too many for a class table", file=path, remedy="is it another file?"
            )
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ClassesError(
            "no such file", file=path, remedy="check the path given for the classes"
        ) from error
    except UnicodeDecodeError as error:
        raise ClassesError(
            f"not UTF-8 text (byte {error.start})", file=path, remedy="save it as UTF-8"
        ) from error
    except OSError as error:
        raise ClassesError(
            f"cannot be read: {error.strerror}", file=path, remedy="check its permissions"
        ) from error


def class_lines(names: list[str], colors: list[str]) -> str:
    """The text of a classes.yaml, to paste."""
    return "\n".join(
        f"- {{name: {quoted(name)}, color: '{color}'}}" for name, color in zip(names, colors, strict=True)
    )
