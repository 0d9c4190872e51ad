"""The pool whose caller helps: every task once, in whose thread it may be, errors where the result is asked for, nothing left running."""
import threading
import time

import pytest

from pipeline.pool import HelpingPool


def here(_=None):
    return threading.get_ident()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_task_is_done_once_and_answers_with_its_own_result(workers):
    done = []
    with HelpingPool(workers) as pool:
        tasks = [pool.submit(lambda k=k: done.append(k) or k * k) for k in range(50)]
        assert [task.result() for task in tasks] == [k * k for k in range(50)]
    assert sorted(done) == list(range(50))


def test_one_worker_is_the_caller_and_works_when_it_asks():
    before = threading.active_count()
    with HelpingPool(1) as pool:
        task = pool.submit(here)
        assert threading.active_count() == before and not task.done()
        assert task.result() == here()


def test_the_caller_works_while_another_is_busy():
    busy, free = threading.Event(), threading.Event()
    with HelpingPool(2) as pool:
        slow = pool.submit(lambda: busy.set() or free.wait(20))
        assert busy.wait(20)
        assert [pool.submit(here).result() for _ in range(5)] == [here()] * 5
        free.set()
        assert slow.result()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out_where_the_result_is_asked_for(workers):
    with HelpingPool(workers) as pool:
        good, bad, after = pool.submit(int, "1"), pool.submit(int, "one"), pool.submit(int, "2")
        assert good.result() == 1
        with pytest.raises(ValueError, match="one"):
            bad.result()
        assert after.result() == 2


def test_ctrl_c_in_a_task_that_the_caller_does_is_not_kept_for_later():
    def interrupted():
        raise KeyboardInterrupt

    with HelpingPool(1) as pool:
        pool.submit(interrupted)
        wanted = pool.submit(int, "1")
        with pytest.raises(KeyboardInterrupt):
            wanted.result()


def test_who_leaves_leaves_no_thread_and_no_task_that_nobody_began():
    before, begun, free = threading.active_count(), [], threading.Event()
    with pytest.raises(ZeroDivisionError), HelpingPool(2) as pool:
        pool.submit(lambda: begun.append(0) or free.wait(20))
        waiting = [pool.submit(begun.append, k) for k in range(1, 20)]
        while not begun:
            time.sleep(0.001)
        free.set()
        raise ZeroDivisionError
    assert threading.active_count() == before
    assert all(task.done() for task in waiting) and len(begun) == 1 + sum(not task.cancelled() for task in waiting)
