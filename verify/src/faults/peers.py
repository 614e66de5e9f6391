# The same faults in Python's pools. Arguments: "pool" or "futures", and the case. Prints one line, or nothing at all.
import concurrent.futures
import multiprocessing
import os
import signal
import sys
import time


class CannotBeRebuilt(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(_):
    sys.exit(3)


def unreadable(_):
    raise CannotBeRebuilt(1, 2)


def unsendable(_):
    return lambda: None


def fail():
    raise RuntimeError("no")


def next_one(n):
    return n + 1


def nap(seconds):
    time.sleep(seconds)


class Pool:
    def __init__(self, initializer=None):
        self.pool = multiprocessing.get_context("fork").Pool(2, initializer)

    def run(self, function, argument):
        return self.pool.apply(function, (argument,))

    def start(self, function, argument):
        self.pool.apply_async(function, (argument,))

    def pids(self):
        return [process.pid for process in self.pool._pool]


class Futures:
    def __init__(self, initializer=None):
        context = multiprocessing.get_context("fork")
        self.pool = concurrent.futures.ProcessPoolExecutor(2, context, initializer)

    def run(self, function, argument):
        return self.pool.submit(function, argument).result()

    def start(self, function, argument):
        self.pool.submit(function, argument)

    def pids(self):
        return list(self.pool._processes)


def attempt(pool, function, argument):
    try:
        return "ok" if pool.run(function, argument) is not None else "nothing"
    except BaseException as error:
        return type(error).__name__


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    kind, case = {"pool": Pool, "futures": Futures}[sys.argv[1]], sys.argv[2]
    if case in ("idle", "busy"):
        pool = kind()
        for _ in range(2):
            pool.run(next_one, 1)
            pool.start(nap, 30 if case == "busy" else 0.1)
        time.sleep(0.5)
        say(" ".join(map(str, pool.pids())))
        time.sleep(60)
    elif case == "initialiser":
        say(attempt(kind(fail), next_one, 1))
    else:
        pool = kind()
        fault = {"killed": die, "exit": leave, "unreadable": unreadable, "unsendable": unsendable}[case]
        first = attempt(pool, fault, 0)
        say(f"{first}; next: {attempt(pool, next_one, 1)}")
    os._exit(0)
