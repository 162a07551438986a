"""Finished tiles on disk, so that a map that was interrupted goes on where it stopped.

A folder beside the map holds what it is a map of, one file per finished tile, and one line per file with its digest.
A tile counts once its line is there and its file has the digest, so a process may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OptionError, OutputError
from pixelwise.files import append_line, write_bytes, write_json, write_text
from pixelwise.infer.windows import Piece
from pixelwise.ops.tiles import Box, Tile, TilePlan

SUBJECT, LINES, AVERAGES = "scene.json", "tiles.jsonl", "averages.npz"


class Subject(NamedTuple):
    """What a map is of: everything that its pixels depend on, and the edge of the tiles it was begun with."""

    facts: dict[str, Any]
    core: int


def packed(piece: Piece) -> bytes:
    """The maps of a finished tile as they are kept."""
    return zlib.compress(b"".join(layer.tobytes() for layer in piece.layers), 1)


class Journal:
    """The finished tiles of one map; `folder` is locked by the caller, and goes when it ends with no tile in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: dict[tuple[int, int], str] = {}

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.done:
            self.discard()

    def begun(self, facts: dict[str, Any], *, resume: bool) -> int | None:
        """The edge of the tiles that work was begun with, or None where there is none to go on with.

        Raises:
            OutputError: there is unfinished work, and nobody asked to go on with it.
            OptionError: it is of something else.
        """
        found = self._subject()
        self.done = self._lines() if found is not None else {}
        if found is None or not self.done:
            return None
        if not resume:
            raise OutputError(
                f"unfinished work of {len(self.done)} tiles for this map is there",
                file=self.folder,
                remedy="add --resume to go on with it, or remove the folder to begin again",
            )
        changed = [key for key in facts if json.loads(json.dumps(facts[key])) != found.facts.get(key)]
        if changed:
            raise OptionError(
                f"the unfinished work in {self.folder} was begun with another {' and '.join(changed)}",
                remedy="go on with what it was begun with, or remove the folder to begin again",
            )
        return found.core

    def begin(self, facts: dict[str, Any], core: int) -> None:
        """Write down what the map is of; a torn last line goes."""
        write_json(self.folder / SUBJECT, {"facts": facts, "core": core})
        lines = [json.dumps({"tile": tile, "sha256": digest}) + "\n" for tile, digest in self.done.items()]
        write_text(self.folder / LINES, "".join(lines))

    def has(self, tile: Tile) -> bool:
        """Whether a tile is finished."""
        return tile[:2] in self.done

    def keep(self, tile: Tile, data: bytes) -> None:
        """Keep a finished tile that was `packed`; one that is kept already stays."""
        place, digest = tile[:2], hashlib.sha256(data).hexdigest()
        if place in self.done:
            return
        write_bytes(self._file(place), data)
        append_line(self.folder / LINES, json.dumps({"tile": place, "sha256": digest}))
        self.done[place] = digest

    def layer(self, plan: TilePlan, index: int) -> Iterator[tuple[Box, NDArray[np.uint8]]]:
        """All tiles of the labels (0), or of what `Piece.layers` holds after them."""
        for tile in plan:
            values = np.frombuffer(zlib.decompress(self._file(tile[:2]).read_bytes()), np.uint8)
            shape = (tile.core.height, tile.core.width)
            yield tile.core, values.reshape(-1, *shape)[index]

    def averages(self) -> dict[str, NDArray[np.float32]]:
        """What a first pass has found; nothing if it was not kept or its file has been damaged."""
        try:
            with np.load(io.BytesIO((self.folder / AVERAGES).read_bytes()), allow_pickle=False) as values:
                return {name: values[name] for name in values.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            return {}

    def keep_averages(self, values: dict[str, NDArray[np.float32]]) -> None:
        """Keep what a first pass has found."""
        stream = io.BytesIO()
        np.savez(stream, **values)  # type: ignore[arg-type]
        write_bytes(self.folder / AVERAGES, stream.getvalue())

    def discard(self) -> None:
        """Remove the folder; the map is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, place: tuple[int, int]) -> Path:
        return self.folder / f"{place[0]}" / f"{place[1]}.bin"

    def _subject(self) -> Subject | None:
        try:
            document = json.loads((self.folder / SUBJECT).read_text(encoding="utf-8"))
            return Subject(dict(document["facts"]), int(document["core"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _lines(self) -> dict[tuple[int, int], str]:
        """Lines that are whole and whose files are as they say."""
        found: dict[tuple[int, int], str] = {}
        try:
            text = (self.folder / LINES).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return found
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                place = (int(entry["tile"][0]), int(entry["tile"][1]))
                digest = hashlib.sha256(self._file(place).read_bytes()).hexdigest()
            except (OSError, ValueError, KeyError, TypeError, IndexError):
                continue
            if digest == entry["sha256"]:
                found[place] = digest
        return found
