"""Records read by many threads at once."""

import subprocess
import sys

RACE = """
import sys, threading
from dataclasses import make_dataclass
import msgspec
from atoll.core.records import converted, decoded

sys.setswitchinterval(1e-6)
value = {f"f{i}": {f"a{j}": j for j in range(8)} for i in range(8)}
data = msgspec.json.encode(value)
reads = [lambda kind: decoded(data, kind), lambda kind: converted(value, kind)] * 2
right = []

def read(way, kind, barrier):
    barrier.wait()
    if msgspec.to_builtins(way(kind)) == value:
        right.append(kind)

for round in range(100):
    parts = [make_dataclass(f"P{i}", [(f"a{j}", int) for j in range(8)]) for i in range(8)]
    whole = make_dataclass("W", [(f"f{i}", part) for i, part in enumerate(parts)])
    barrier = threading.Barrier(len(reads))
    threads = [threading.Thread(target=read, args=(way, whole, barrier)) for way in reads]
    for one in threads: one.start()
    for one in threads: one.join()
print(len(right))
"""


def test_a_type_may_be_read_for_the_first_time_by_many_threads_at_once():
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "400\n", "")
