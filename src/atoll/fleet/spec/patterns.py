"""Regular expressions that strangers wrote, matched in a process of its own.

One such as (a|a)*b takes years, during which this process could do nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

MOST_SECONDS = 1
"""Of a processor; what takes longer is refused."""
_WAIT_SECONDS = 30.0
_MOST_BYTES = 1 << 30
_CODE = """
import json, re, resource, sys
seconds, size, pattern, values = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    found = re.compile(pattern)
except (re.error, OverflowError, RecursionError) as error:
    print(json.dumps(str(error)))
else:
    print(json.dumps(all(found.fullmatch(one) for one in values)))
"""


class BadPattern(Exception):
    """A pattern that cannot be used; the message says why, as the end of a sentence."""


def matches(pattern: str, values: Sequence[str]) -> bool:
    """Tell whether all of each value matches; without values only the pattern is looked at.

    Raises:
        BadPattern: it is no regular expression, or takes too long.
    """
    asked = json.dumps([MOST_SECONDS, _MOST_BYTES, pattern, list(values)])
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CODE],
            input=asked,
            capture_output=True,
            text=True,
            timeout=_WAIT_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise BadPattern(
            f"takes more than {MOST_SECONDS} s, or too much memory; write one that repeats less"
        ) from error
    answer = json.loads(child.stdout)
    if isinstance(answer, str):
        raise BadPattern(f"is no regular expression: {answer}")
    return bool(answer)
