"""What watching many processes costs, beside naive psutil: ``python bench/watching.py [COUNT]``.

Both look at the same idle processes. hiod's watch runs through a minute of artificial tyme, all
its looks are real; the naive way asks psutil for the same figures of everybody once a second.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import time

import psutil

from hiod.host import procs
from hiod.host.procs import Watch


def watch_cost(pids: list[int], seconds: float, *, suspects: bool) -> tuple[float, int]:
    """Return CPU seconds a second, and how many looks it took."""
    watch = Watch()
    for pid in pids:
        process_id = procs.identify(pid)
        assert process_id is not None
        watch.add(str(pid), process_id, 0.0, suspect=suspects)
    now, looks = 0.0, 0
    began = time.process_time()
    while (at := watch.next_at(now)) <= seconds:
        now = max(now, at)
        looks += len(watch.sample_due(now))
    return (time.process_time() - began) / seconds, looks


def naive_cost(pids: list[int], seconds: int) -> float:
    """Return CPU seconds a second of asking for everything of everybody every second."""
    processes = [psutil.Process(pid) for pid in pids]
    began = time.process_time()
    for _ in range(seconds):
        for process in processes:
            with process.oneshot():
                process.status()
                process.cpu_percent()
                process.memory_info()
                process.num_threads()
    return (time.process_time() - began) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=500, help="processes to watch")
    count = parser.parse_args().count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 64)), hard))
    # All read one pipe, so that its end ends them.
    reader, writer = os.pipe()
    children = [subprocess.Popen(["/bin/cat"], stdin=reader) for _ in range(count)]
    os.close(reader)
    pids = [child.pid for child in children]
    try:
        usual, looks = watch_cost(pids, 60.0, suspects=False)
        worst, close_looks = watch_cost(pids, 60.0, suspects=True)
        naive = naive_cost(pids, 3)
    finally:
        os.close(writer)
        for child in children:
            child.wait()
    print(f"watching {count} processes, share of one core:")
    print(f"  hiod, default pace            {usual:8.3%}   {looks / 60:6.1f} looks/s")
    print(f"  hiod, all of them suspects    {worst:8.3%}   {close_looks / 60:6.1f} close looks/s")
    print(f"  psutil, everybody each second {naive:8.3%}   {count:6.1f} looks/s")


if __name__ == "__main__":
    main()
