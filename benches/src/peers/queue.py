"""Prints the nanoseconds that COUNT messages of SIZE bytes take from one process to another."""
import multiprocessing
import os
import sys
import time

count, size, capacity, first, second = map(int, sys.argv[1:])
context = multiprocessing.get_context("fork")
queue = context.Queue(capacity)
start = context.Barrier(2)
report, reports = context.Pipe(duplex=False)


def produce():
    os.sched_setaffinity(0, [first])
    start.wait()
    began = time.monotonic_ns()
    if size == 8:
        for number in range(count):
            queue.put(number)
    else:
        rest = bytes(size - 8)
        for number in range(count):
            queue.put(number.to_bytes(8, "little") + rest)
    reports.send(("began", began))


def consume():
    os.sched_setaffinity(0, [second])
    total = 0
    start.wait()
    if size == 8:
        for _ in range(count):
            total += queue.get()
    else:
        for _ in range(count):
            total += int.from_bytes(queue.get()[:8], "little")
    ended = time.monotonic_ns()
    if total != count * (count - 1) // 2:
        sys.exit("messages were lost")
    reports.send(("ended", ended))


processes = [context.Process(target=produce), context.Process(target=consume)]
for process in processes:
    process.start()
for process in processes:
    process.join()
    if process.exitcode != 0:
        sys.exit(f"a process ended with {process.exitcode}")
times = dict(report.recv() for _ in processes)
print(times["ended"] - times["began"])
