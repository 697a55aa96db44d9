"""The process of `bench.measure.fresh`: calls functions that it is told, line by line.

A line of standard input is JSON, a function as "module:name" and its arguments; the result goes to
standard output as a line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    # What a function or a library prints is not an answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        where, arguments = json.loads(line)
        module, _, name = where.partition(":")
        result = getattr(importlib.import_module(module), name)(**arguments)
        answers.write(json.dumps(result) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
