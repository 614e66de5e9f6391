# Python's multiprocessing.Pool: nanoseconds for so many tasks, printed. Arguments: how, count, workers.
import multiprocessing
import sys
import time


def task(n):
    return n + 1


if __name__ == "__main__":
    how, count, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # fork: what is asked is not how long a start takes, and this is its fastest way to share the function.
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.map(task, range(workers))
        begin = time.perf_counter_ns()
        if how == "apply":
            total = sum(pool.apply(task, (n,)) for n in range(count))
        elif how == "apply_async":
            tasks = [pool.apply_async(task, (n,)) for n in range(count)]
            total = sum(given.get() for given in tasks)
        else:
            total = sum(pool.map(task, range(count)))
        took = time.perf_counter_ns() - begin
        assert total == count * (count + 1) // 2, "results are lost or doubled"
        print(took)
