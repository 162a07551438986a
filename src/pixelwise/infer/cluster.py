"""Blocks computed by Ray: on a cluster, or by processes that it starts here. The only door to it.

https://docs.ray.io. Ray starts a block again where a worker or its machine dies.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

from pixelwise.errors import MissingExtraError, OptionError, PixelwiseError
from pixelwise.infer.blocks import Answer, Block, Setup, Worker
from pixelwise.infer.crew import AHEAD, ATTEMPTS, died

_workers: dict[str, Worker] = {}  # in a process of Ray, by what they were set up with


class RayCrew:
    """Tasks on a Ray cluster.

    Args:
        setup: What workers need; it travels to each machine once. Threads are those of the cluster, shared out.
        workers: Blocks under way at a time.
        address: Of a running cluster; without it Ray is started on this machine, reachable from nowhere else.

    Raises:
        MissingExtraError: Ray is not installed.
        OptionError: there is no cluster at that address.
    """

    here = False

    def __init__(self, setup: Setup, workers: int, address: str | None = None) -> None:
        if workers < 1:
            raise OptionError(f"{workers} workers", remedy="give 1 or more")
        self._ray = _load()
        self.workers, self.engine = workers, setup.engine
        self._started = not self._ray.is_initialized()
        if self._started:
            self._start(address, setup.threads * workers)
        cores = int(self._ray.cluster_resources().get("CPU", 1))
        setup = replace(setup, threads=max(1, cores // workers))
        self._setup = self._ray.put(setup)
        task = self._ray.remote(num_cpus=setup.threads, max_retries=ATTEMPTS - 1)
        self._compute = task(_computed)
        self._under_way: dict[Any, Block] = {}

    def _start(self, address: str | None, cores: int) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address is not None:
                _knock(address)
                self._ray.init(address=address, **quiet)
                return
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            here = {"address": "local", "_node_ip_address": "127.0.0.1"}  # and no cluster that it may know of
            self._ray.init(num_cpus=cores, include_dashboard=False, **here, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            if address is None:
                raise OptionError(
                    f"Ray does not start here: {error}", remedy="give --spread local"
                ) from error
            raise OptionError(
                f"no Ray cluster at {address}: {error}",
                remedy="give the address that `ray start --head` printed",
            ) from error

    @property
    def room(self) -> int:
        """Further blocks that may be given now."""
        return AHEAD * self.workers - len(self._under_way)

    def give(self, block: Block) -> None:
        """Start a task."""
        self._under_way[self._compute.remote(self._setup, block)] = block

    def take(self) -> tuple[Block, Answer]:
        """The next task that is done."""
        done, _ = self._ray.wait(list(self._under_way), num_returns=1)
        block = self._under_way.pop(done[0])
        try:
            return block, self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError:
            raise  # a mistake of ours
        except self._ray.exceptions.RayError as error:
            failure = died(block)
            failure.__cause__ = error
            return block, Answer(error=failure)

    def close(self) -> None:
        """Stop the tasks, and Ray where it was started here."""
        for reference in self._under_way:
            self._ray.cancel(reference, force=True)
        if self._started:
            self._ray.shutdown()


def _computed(setup: Setup, block: Block) -> Answer:
    """Runs in a process of Ray, which keeps the model for the next block."""
    try:
        key = f"{setup.weights} {setup.version} {setup.engine} {setup.precision} {setup.threads}"
        if key not in _workers:
            _workers.clear()
            _workers[key] = Worker(setup)
    except PixelwiseError as error:
        return Answer(error=error)
    return _workers[key](block)


def _knock(address: str) -> None:
    """Whether anybody listens there: Ray itself tries for more than a minute."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _load() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "Ray is not installed", remedy='pip install "pixelwise[ray]", or --spread local'
        ) from error
    return ray
