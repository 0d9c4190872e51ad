"""A pool of threads of which the caller is one: whoever asks for a result that is not there yet works on waiting tasks until it is.

With a pool of its own beside it the caller is one thread too many: three threads on two cores push each other's data out of the cache, which costs an eighth of a recording's time.
"""
from __future__ import annotations

from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from threading import Thread


class HelpingPool(Executor):
    """`workers` threads, the caller's counted; with one everything runs in the caller's, when it asks.

    >>> with HelpingPool(2) as pool:
    ...     squares = [pool.submit(pow, k, 2) for k in range(4)]
    ...     [square.result() for square in squares]
    [0, 1, 4, 9]
    """

    def __init__(self, workers: int):
        self._tasks: SimpleQueue = SimpleQueue()
        self._threads = [Thread(target=self._work, name="pipeline", daemon=True) for _ in range(workers - 1)]
        for thread in self._threads:
            thread.start()

    def submit(self, fn, /, *args, **kwargs) -> Future:
        task = _Task(self, fn, args, kwargs)
        self._tasks.put(task)
        return task

    def help(self) -> bool:
        """Do the next waiting task; False if there is none."""
        try:
            task = self._tasks.get_nowait()
        except Empty:
            return False
        task.run()
        return True

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Tasks that nobody has begun are cancelled: who leaves without their results does not want them."""
        while True:
            try:
                self._tasks.get_nowait().cancel()
            except Empty:
                break
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()


class _Task(Future):
    def __init__(self, pool: HelpingPool, function, args: tuple, kwargs: dict):
        super().__init__()
        self._pool, self._call = pool, (function, args, kwargs)

    def run(self) -> None:
        if not self.set_running_or_notify_cancel():
            return
        function, args, kwargs = self._call
        try:
            self.set_result(function(*args, **kwargs))
        except Exception as error:
            self.set_exception(error)
        except BaseException as error:  # Ctrl-C while the caller helps: it must not wait until somebody asks for this result
            self.set_exception(error)
            raise
        finally:
            self._call = None  # lets go of the chunk

    def result(self, timeout=None):
        while not self.done() and self._pool.help():
            pass
        return super().result(timeout)
