"""The scores of one class by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pixelwise.errors import OptionError, close_matches


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


Score = TypeVar("Score", bound=Named)


def named(scores: Sequence[Score], name: str) -> Score:
    """The one of `scores` that is called `name`.

    Raises:
        OptionError: there is none; close names are told.
    """
    for score in scores:
        if score.name == name:
            return score
    raise OptionError(f"no class {name!r}", remedy=close_matches(name, [one.name for one in scores]))
