"""Entry point of the `pixelwise` command: turns errors of ours into one message and an exit status."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; 0 done, 1 findings, 2 an error of ours, 130 interrupted."""
    from pixelwise.cli.app import run

    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files that are no UTF-8, as on standard error
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
