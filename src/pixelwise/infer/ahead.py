"""Work done ahead of time, such as decoding the next image while the network runs on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, depth: int = 2
) -> Iterator[tuple[Item, Callable[[], Result]]]:
    """Yield each item, in order, with a call that returns `work(item)` or raises what it raised.

    `depth` threads run ahead by as many items, so memory holds at most `depth + 1` results.

    >>> [(item, result()) for item, result in ahead(lambda x: x * x, [1, 2, 3])]
    [(1, 1), (2, 4), (3, 9)]
    """
    waiting = iter(items)
    with ThreadPoolExecutor(depth, thread_name_prefix="ahead") as pool:
        started: deque[tuple[Item, Future[Result]]] = deque(
            (item, pool.submit(work, item)) for item in islice(waiting, depth)
        )
        try:
            while started:
                item, future = started.popleft()
                started.extend((later, pool.submit(work, later)) for later in islice(waiting, 1))
                yield item, future.result
        finally:
            for _, future in started:
                future.cancel()
