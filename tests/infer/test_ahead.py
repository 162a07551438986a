"""Work ahead: order, errors where they belong, and a bound on what is held."""

from __future__ import annotations

import threading
import time

import pytest

from pixelwise.infer.ahead import ahead


def test_results_come_in_order_however_long_each_takes() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 if item % 2 else 0)
        return item * item

    assert [(item, result()) for item, result in ahead(work, range(9))] == [(n, n * n) for n in range(9)]
    assert list(ahead(work, [])) == []


def test_an_error_is_raised_by_its_own_item_and_the_others_go_on() -> None:
    seen = []
    for item, result in ahead(lambda n: 6 // n, [3, 0, 2]):
        if item == 0:
            with pytest.raises(ZeroDivisionError):
                result()
        else:
            seen.append(result())
    assert seen == [2, 3]


def test_it_works_on_other_threads_and_never_far_ahead() -> None:
    begun: list[int] = []
    threads = set()

    def work(item: int) -> int:
        begun.append(item)
        threads.add(threading.current_thread())
        return item

    for item, result in ahead(work, range(20), depth=2):
        assert result() == item
        time.sleep(0.002)
        assert max(begun) <= item + 2
    assert threading.main_thread() not in threads


def test_stopping_early_ends_the_threads() -> None:
    count = threading.active_count()
    work = ahead(lambda n: n, range(100))
    next(work)
    work.close()  # type: ignore[attr-defined]
    assert threading.active_count() == count
