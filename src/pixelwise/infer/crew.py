"""Processes that compute blocks: on this machine, each with a share of its cores; one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from pixelwise.errors import DataError, OptionError, PixelwiseError
from pixelwise.infer.blocks import Answer, Block, Setup, Worker

AHEAD = 2  # blocks that a worker holds: one that it computes, one that waits
ATTEMPTS = 5  # times that a block may take its worker down
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Crew(Protocol):
    """Workers that take blocks and give back answers, in any order.

    Attributes:
        workers: How many there are.
        here: They run on this machine and share its memory.
        engine: What each of them runs, by its name.
    """

    workers: int
    here: bool
    engine: str

    @property
    def room(self) -> int:
        """Further blocks that may be given now."""
        ...

    def give(self, block: Block) -> None:
        """Have a block computed, by as many workers as it takes until one survives it."""
        ...

    def take(self) -> tuple[Block, Answer]:
        """The next block that is done; there must be one under way."""
        ...

    def close(self) -> None:
        """Stop; what is under way is lost."""
        ...


class LocalCrew:
    """Processes on this machine."""

    here = True

    def __init__(self, setup: Setup, workers: int) -> None:
        if workers < 1:
            raise OptionError(f"{workers} workers", remedy="give 1 or more")
        self.workers, self.engine = workers, setup.engine
        self._setup = setup
        self._hands = [_Hand(setup) for _ in range(workers)]
        self._failed: dict[tuple[int, int, bool], int] = {}
        self._ready: deque[tuple[Block, Answer]] = deque()

    @property
    def room(self) -> int:
        """Further blocks that may be given now."""
        return sum(AHEAD - len(hand.blocks) for hand in self._hands) - len(self._ready)

    def give(self, block: Block) -> None:
        """Send a block to the worker that has the fewest."""
        min(self._hands, key=lambda hand: len(hand.blocks)).give(block)

    def take(self) -> tuple[Block, Answer]:
        """The next block that is done."""
        while not self._ready:
            wait([hand.pipe for hand in self._hands if hand.blocks])
            for place, hand in enumerate(self._hands):
                self._hear(place, hand)
        return self._ready.popleft()

    def _hear(self, place: int, hand: _Hand) -> None:
        """Take what a worker says; where it has died put another in its place."""
        try:
            while hand.blocks and hand.pipe.poll():
                answer = hand.pipe.recv()
                if not isinstance(answer, Answer):
                    raise RuntimeError(f"a worker failed:\n{answer}")
                self._ready.append((hand.blocks.popleft(), answer))
        except (EOFError, OSError):
            self._replace(place, hand)

    def _replace(self, place: int, hand: _Hand) -> None:
        hand.stop()
        fresh = self._hands[place] = _Hand(self._setup)
        for turn, block in enumerate(hand.blocks):
            key = (block.scene, block.number, block.first)
            self._failed[key] = self._failed.get(key, 0) + (turn == 0)
            if self._failed[key] < ATTEMPTS:
                fresh.give(block)
            else:
                self._ready.append((block, Answer(error=died(block))))

    def close(self) -> None:
        """End all processes."""
        for hand in self._hands:
            hand.stop()


def died(block: Block) -> DataError:
    """What to say of a block that no worker survives."""
    return DataError(
        f"{ATTEMPTS} workers in a row died of the tiles from {block.places[0]} on",
        remedy="they ran out of memory, most likely: give fewer --workers",
        file=block.source,
    )


class _Hand:
    """One process, the pipe to it, and what it was given."""

    def __init__(self, setup: Setup) -> None:
        context = _context()
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.blocks: deque[Block] = deque()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, setup), daemon=True)
        with _threads(setup.threads):
            self.process.start()
        theirs.close()

    def give(self, block: Block) -> None:
        self.blocks.append(block)
        try:
            self.pipe.send(block)
        except OSError:
            return  # it is dead, which is noticed when it is listened to

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _context() -> Any:
    """Processes forked from one that has only imported what they need; a fork of this one would lack its threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pixelwise.infer.blocks"])
    return context


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes that start in the body have so many threads in every library."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, setup: Setup) -> None:
    """The life of a worker."""
    try:
        worker: Worker | None = None
        while True:
            block = pipe.recv()
            try:
                worker = worker or Worker(setup)
                pipe.send(worker(block))
            except PixelwiseError as error:
                pipe.send(Answer(error=error))
            except Exception:
                pipe.send(traceback.format_exc())
    except (EOFError, OSError, KeyboardInterrupt):
        return  # the process that gave the work is gone
