"""The fresh process of `bench.measure.fresh`: calls one function, leaves its result as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    where, arguments, answer = sys.argv[1:]
    module, _, name = where.partition(":")
    result = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    Path(answer).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
