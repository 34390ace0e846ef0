"""Boxes of one job on the workers of a Dask cluster: a task is one box, or several that take no time.

Workers open the input, the output and the folder of the job by their names: all machines see one file system.  What is
done stands in that folder alone, so that client, scheduler and workers may end at any time.
"""

from __future__ import annotations

import logging
import pickle
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import convcli
from convcli.common import ConvError
from convcli.execution.folder import JobFolder, Row
from convcli.execution.workers import ENDED, TRIES, Share, Worker, reason

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER = 5.0  # seconds in which a scheduler answers
EMPTY = 30.0  # seconds for which a cluster may be without a worker
AHEAD = 2  # tasks for each thread of the cluster, so that none waits for the next one
RETRIES = 2  # of a task that has failed for reasons of the cluster
TASK = 0.25  # seconds of a task, where its boxes take less: Dask needs 10 ms for each
MOST = 64  # boxes of a task


class Held:
    """A share in the memory of a cluster's worker, with what computes boxes of it: one `Worker` a thread.

    Dask frees it when the client has ended, however it did.

    Parameters
    ----------
    folder : Path
        Of the job.
    share : bytes
        Pickled, so that each `Worker` has one of its own, and neither the scheduler nor a worker of another version
        makes anything of it.
    version : str
        Of convcli where it was pickled.
    token : str
        Of the run.
    """

    def __init__(self, folder: Path, share: bytes, version: str, token: str) -> None:
        self._made = folder, share, version, token
        self._folder = JobFolder(folder)
        self._idle: list[Worker] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Held, self._made

    def __del__(self) -> None:
        for worker in self._idle:
            worker.close()

    def _begin(self) -> Worker:
        _, share, version, _ = self._made
        if convcli.__version__ != version:
            raise ConvError(f"it has convcli {convcli.__version__}, and this is {version}: install it there")
        if not self._folder.exists:
            told = "all machines need one file system under the same names"
            raise ConvError(f"it does not see {self._folder.path}: {told}")
        own, inside = pickle.loads(share), self._folder.inside
        own = replace(own, folder=inside, sink=replace(own.sink, path=inside / own.sink.path.name))
        return Worker(own, kept=False)

    def do(self, boxes: Sequence[int]) -> None:
        """Compute boxes, write and log them, unless a single one has ended `TRIES` workers; errors as `Worker.do`."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = self._begin()
        tries = f"tries-{self._made[-1]}-{boxes[0]}" + f"-{boxes[-1]}" * (len(boxes) > 1)
        try:
            with worker.log.locked():
                times = self._folder.tried(tries)
                if times > TRIES and len(boxes) == 1:
                    worker.log({"box": boxes[0], "error": ENDED})
                    boxes = ()
                done = self._folder.done() if times > 1 else set()
                for index in boxes:
                    if index not in done:
                        worker.do(index)
                if boxes:
                    (self._folder.inside / tries).unlink(missing_ok=True)
        except BaseException:
            worker.close()
            raise
        self._idle.append(worker)


def do(held: Held, boxes: Sequence[int]) -> None:
    """Be the task of some boxes.

    What came of them stands in the log: results of tasks lie in the memory of workers, which may end.

    Raises
    ------
    RuntimeError
        With one line, where this worker can do none; Dask takes it to the client.
    """
    try:
        return held.do(boxes)
    except (ConvError, MemoryError) as error:
        why = reason(error)
    from distributed import get_worker

    # Out of the handler: Dask pickles contexts too
    raise RuntimeError(f"worker {get_worker().address}: {why}")


class Cluster:
    """The workers of a scheduler.

    Parameters
    ----------
    address : str
        As ``tcp://host:8786``.

    Raises
    ------
    ConvError
        Where no scheduler answers, it has no workers, or these have no convcli of this version.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError:
            raise ConvError(
                'a Dask cluster needs the package distributed: pip install "convcli[cluster]"'
            ) from None
        from importlib import metadata

        self._distributed, self.address = distributed, address
        logging.disable(logging.CRITICAL)  # what becomes of the connection is said in one line
        warnings.filterwarnings("ignore", module="distributed")
        try:
            begin = partial(distributed.Client, address, timeout=ANSWER, set_as_default=False, name="convcli")
            self._client: Client = _in_time(begin)
            self._client.wait_for_workers(1, timeout=ANSWER)
            found = self._client.run(metadata.version, "convcli", on_error="return")
            with suppress(metadata.PackageNotFoundError):
                found["itself"] = None
                found["itself"] = self._client.run_on_scheduler(metadata.version, "convcli")
            self.threads = sum(self._client.nthreads().values())
        except Exception as error:
            answered = hasattr(self, "_client")
            why = "this Dask scheduler has no workers" if answered else "no Dask scheduler answers there"
            if answered and not isinstance(error, TimeoutError):
                why = f"{type(error).__name__}: {error}"
            raise self._error(why) from error
        self.dashboard = self._client.dashboard_link
        for name, version in sorted(found.items()):
            if version != convcli.__version__:
                who = "the Dask scheduler" if name == "itself" else f"its worker {name}"
                has = f"has convcli {version}" if isinstance(version, str) else "has no convcli"
                raise self._error(f"{who} {has}, and this is {convcli.__version__}: install that there")

    def _error(self, why: str) -> ConvError:
        return ConvError(why, subject=self.address)

    def run(self, share: Share, boxes: Iterable[int]) -> Generator[Row, None, None]:
        """Have boxes computed and written; yield which has ended, in any order: the logs say how.

        A box with which Dask has lost more workers than it allows (``allowed-failures``) is done again at the end,
        alone, as it may only have waited behind another one that ended them.

        Raises
        ------
        ConvError
            Where workers cannot go on at all, and where the scheduler is lost.
        """
        client, arrived, folder = self._client, SimpleQueue["Future"](), JobFolder(share.folder)
        token, waiting, suspects, losses = uuid4().hex, deque(boxes), deque[int](), Counter[int]()
        flying, alone, ended, begun = dict["Future", list[int]](), False, 0, time.monotonic()
        made = share.folder, pickle.dumps(share), convcli.__version__, token
        held = client.submit(Held, *made, key=f"convcli-job-{token}")
        try:
            with folder.log() as log:
                while waiting or suspects or flying:
                    alone = alone or not (waiting or flying)
                    given, most = (suspects, 1) if alone else (waiting, AHEAD * self.threads)
                    rate = ended / max(time.monotonic() - begun, TASK) / self.threads
                    while given and len(flying) < most:
                        few = 1 if alone else max(1, min(int(TASK * rate), MOST, len(given) // most))
                        some = [given.popleft() for _ in range(few)]
                        key = f"convcli-box-{token}-{some[0]}-{few}-{losses[some[0]]}"
                        future = client.submit(do, held, some, key=key, retries=RETRIES)
                        flying[future] = some
                        future.add_done_callback(arrived.put)
                    future = self._next(arrived)
                    some = flying.pop(future)
                    done = set(some) if self._done(future) else folder.done()
                    begun, ended = (begun, ended + len(done)) if ended else (time.monotonic(), 1)
                    for index in some:
                        losses[index] += index not in done and len(some) == 1
                        if index not in done and losses[index] <= TRIES:
                            suspects.append(index)
                            continue
                        if index not in done:
                            log({"box": index, "error": ENDED})
                        yield {"box": index}
        finally:
            with suppress(Exception):  # the connection was lost
                client.cancel([held, *flying], reason="convcli has ended")

    def _next(self, arrived: SimpleQueue[Future]) -> Future:
        """Return the next task that has ended; errors where no worker is left."""
        waited = 0.0
        while True:
            try:
                return arrived.get(timeout=1)
            except Empty:
                waited = 0.0 if self._client.nthreads() else waited + 1
                if waited >= EMPTY:
                    raise self._error(
                        f"the Dask scheduler has had no workers for {waited:g} s. What is done is kept: the same "
                        "command goes on"
                    ) from None

    def _done(self, future: Future) -> bool:
        """Return whether a task has ended, and not its workers instead."""
        if future.status in ("finished", "lost"):  # lost with its worker, but what it did stands in the log
            return True
        why = "the connection to the Dask scheduler was lost"
        if future.status == "error":
            error = future.exception()
            if isinstance(error, self._distributed.KilledWorker):
                return False
            known = isinstance(error, RuntimeError)
            why = str(error) if known else f"a task failed with {type(error).__name__}: {error}"
        raise self._error(f"{why}. What is done is kept: the same command goes on")


def _in_time(begin: Callable[[], Client]) -> Client:
    """Return what begins in `ANSWER` seconds: Dask itself waits for ever for who listens and says nothing."""
    answer = SimpleQueue["Client | Exception"]()

    def work() -> None:
        try:
            answer.put(begin())
        except Exception as error:
            answer.put(error)

    Thread(target=work, daemon=True).start()
    found = answer.get(timeout=ANSWER + 1)
    if isinstance(found, Exception):
        raise found
    return found


connected = cache(Cluster)
