"""Simulate large jobs from measured constants: where the time goes, and which part of the design gives way first.

    python benchmarks/scale.py            the table of docs/scale.md
    python benchmarks/scale.py --boxes 40 the same with smaller jobs (for the tests)

A box is given out by the scheduler, one at a time; its requests and bytes go through the store, whose bandwidth all
workers share; it is computed; its chunks are written.  A worker that is killed loses its box.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

# Measured on two cores of a shared machine; docs/scale.md says how.
VOXEL = 6.9e-9  # s, gaussian:sigma=2 in three dimensions, one core
BYTE = 5e-9  # s, a byte of samples unpacked or packed by zarr and Zstandard, one core
BOX = 5e-3  # s of a worker: opening, the log
TASK = 1.3e-3  # s of the scheduler (the client takes 0.8)
FSYNC = 11e-3  # s of the client at the end, a chunk or shard of the output
ROW = 740  # bytes of the client's memory, a box
PICTURE = 4.3e-3  # s of a core, 256x256 PNG, read, filtered, written


@dataclass(frozen=True)
class Store:
    """Where the samples lie.

    Attributes
    ----------
    latency : float
        Seconds of a request.
    each, all : float
        Bytes in a second of one worker, and of all together.
    dollars : float
        Of 1000 reads; writes cost 12.5 times that, as the price list of a large provider has it.
    """

    latency: float
    each: float
    all: float
    dollars: float = 0.0


DISK = Store(1e-3, 1e9, 10e9)  # a parallel file system
OBJECTS = Store(30e-3, 100e6, 1e12, 0.0004)


@dataclass(frozen=True)
class Job:
    """A volume in cubes.

    Attributes
    ----------
    voxels : float
    box, chunk, halo : int
        Samples along each axis.
    sample : int
        Bytes.
    ratio : float
        Stored bytes for each byte of samples.
    parallel : int
        Requests under way at a time in one worker.
    """

    voxels: float
    box: int = 512
    chunk: int = 128
    halo: int = 8
    sample: int = 2
    ratio: float = 0.5
    parallel: int = 8

    @property
    def boxes(self) -> int:
        return max(1, ceil(self.voxels / self.box**3))

    @property
    def reads(self) -> int:
        """Chunks that a box reads: those of its halo are read as a whole."""
        return ceil((self.box + 2 * ceil(self.halo / self.chunk) * self.chunk) / self.chunk) ** 3

    @property
    def writes(self) -> int:
        return (self.box // self.chunk) ** 3

    @property
    def over(self) -> float:
        """Bytes read over bytes needed."""
        return self.reads * self.chunk**3 / self.box**3

    @property
    def samples(self) -> float:
        """The bytes that a box reads and writes, unpacked."""
        return (self.reads + self.writes) * self.chunk**3 * self.sample

    @property
    def bytes(self) -> float:
        """What a box moves through the store."""
        return self.samples * self.ratio

    def alone(self, store: Store) -> float:
        """Return the seconds of a box that has the store for itself."""
        requests = (self.reads + self.writes) * store.latency / self.parallel
        return requests + self.bytes / store.each + self.samples * BYTE + self.box**3 * VOXEL + BOX


@dataclass(frozen=True)
class Result:
    hours: float
    busy: float
    scheduler: float
    store: float
    again: int
    dollars: float


def simulate(job: Job, store: Store, workers: int, *, lifetime: float = 0.0, boxes: int = 0) -> Result:
    """Run a job.

    Parameters
    ----------
    workers : int
        Of one thread.
    lifetime : float
        Mean hours until a worker is killed; 0 never.
    boxes : int
        Simulate so many, of the same size, in place of all; the times are scaled up.
    """
    total = job.boxes
    count = min(total, boxes or total)
    rng, free = random.Random(1), [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    alone = job.alone(store)
    scheduler = shared = last = worked = 0.0
    left, again = count, 0
    while left:
        now, worker = heapq.heappop(free)
        scheduler = max(scheduler, now) + TASK  # one box after the other
        shared = max(shared, scheduler) + job.bytes / store.all
        end = max(scheduler + alone, shared)
        worked += alone
        if lifetime and rng.expovariate(1 / (lifetime * 3600)) < end - now:
            again += 1  # it is computed once more, by another worker
        else:
            left -= 1
            last = max(last, end)
        heapq.heappush(free, (end, worker))
    scale = total / count
    cost = total * (job.reads + 12.5 * job.writes) / 1000 * store.dollars
    return Result(
        last * scale / 3600,
        worked / (last * workers),
        count * TASK / last,
        count * job.bytes / store.all / last,
        round(again * scale),
        cost,
    )


def breaks(job: Job, store: Store) -> dict[str, float]:
    """Return with how many workers each shared part is busy all the time."""
    seconds = job.alone(store)
    return {"scheduler": seconds / TASK, "store": seconds * store.all / job.bytes}


def rows(boxes: int = 0) -> Iterator[tuple[str, Job, Store, int]]:
    """Yield the cases of the table."""
    volume = Job(1e12 / 2)
    yield "1 TB, file system, 100 workers", volume, DISK, 100
    yield "1 TB, object storage, 100 workers", volume, OBJECTS, 100
    yield "the same, boxes of 256", replace(volume, box=256), OBJECTS, 100
    yield "the same, chunks of 64", replace(volume, chunk=64), OBJECTS, 100
    yield "1 TB, object storage, 1000 workers", volume, OBJECTS, 1000
    yield "1 TB, file system, 1000 workers", volume, DISK, 1000
    yield "1 PB, object storage, 1000 workers", Job(1e15 / 2), OBJECTS, 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--boxes", type=int, default=20_000, help="simulate so many boxes of each job")
    asked = parser.parse_args()
    print("| job | boxes | read over needed | hours | workers busy | scheduler | store | again | requests |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, job, store, workers in rows():
        found = simulate(job, store, workers, lifetime=24, boxes=asked.boxes)
        cost = f"${found.dollars:,.0f}" if store.dollars else ""
        print(
            f"| {name} | {job.boxes:,} | {job.over:.2f} | {found.hours:.2g} | {found.busy:.0%} | "
            f"{found.scheduler:.1%} | {found.store:.0%} | {found.again} | {cost} |"
        )
    pictures = 1e7 * PICTURE / 3600
    for name, volume in (("1 TB", Job(5e11)), ("1 PB", Job(5e14))):
        files, memory = volume.boxes * volume.writes, volume.boxes * ROW
        print(
            f"{name}: {files:,} chunks of the output are forced to the disk in {files * FSYNC / 3600:.2g} hours "
            f"({volume.boxes * FSYNC / 3600:.2g} with a shard a box), their logs {memory / 1e6:,.0f} MB of the client"
        )
    print(f"ten million pictures: {pictures:.0f} core hours, {pictures / 100:.2g} hours on 100 cores")
    for name, job, store in (("file system", Job(5e11), DISK), ("object storage", Job(5e11), OBJECTS)):
        most = ", ".join(f"{part} {count:,.0f}" for part, count in breaks(job, store).items())
        print(f"{name}: workers with which a shared part is always busy: {most}")


if __name__ == "__main__":
    main()
