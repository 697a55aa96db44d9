"""Where what work printed is kept: below a cluster's LogUri, in EMR's layout.

<LogUri>/<cluster>/steps/<step>/stdout.gz, stderr.gz, controller.gz
<LogUri>/<cluster>/steps/<step>/attempt-2/...    the same of each further attempt
<LogUri>/<cluster>/node/<machine>/bootstrap-actions/<number>/...    numbers from 1

`controller` says how it ended. It is written last: where it is, all is there.
Source: EMR management guide, emr-manage-view-web-log-files. EMR has no attempts.
"""

from __future__ import annotations

import re

from atoll.core.errors import InvalidInput

STDOUT, STDERR, CONTROLLER = "stdout", "stderr", "controller"
SUFFIX = ".gz"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
"""What agents and the host write in their own logs."""
STEP_LOGS = "logs/steps"
"""Where steps leave their output on the disk of their primary: a folder each."""
_OLD_SCHEME = re.compile("^s3n://", re.IGNORECASE)
_WHOLE = re.compile("/|file:///|s3n?://", re.IGNORECASE)


def step_folder(step_id: str, attempt: int) -> str:
    """Return where an attempt at a step is kept, below the cluster's folder.

    >>> step_folder("s-1", 1), step_folder("s-1", 2)
    ('steps/s-1', 'steps/s-1/attempt-2')
    """
    return f"steps/{step_id}" if attempt == 1 else f"steps/{step_id}/attempt-{attempt}"


def bootstrap_folder(machine_id: str, number: int) -> str:
    """Return where a bootstrap action is kept, below the cluster's folder."""
    return f"node/{machine_id}/bootstrap-actions/{number}"


def on_disk(step_id: str, attempt: int) -> str:
    """Return where an attempt at a step leaves its output on the disk of its primary."""
    return f"{STEP_LOGS}/{step_id}/attempt-{attempt}"


def cluster_url(log_uri: str, cluster_id: str) -> str:
    """Return the folder of a cluster below its LogUri; "s3n" is EMR's old word for "s3".

    >>> cluster_url("s3n://logs/", "j-1")
    's3://logs/j-1'
    """
    return f"{_OLD_SCHEME.sub('s3://', log_uri).rstrip('/')}/{cluster_id}"


def is_local(log_uri: str) -> bool:
    """Tell whether a LogUri is a folder of whichever machine writes there."""
    return not cluster_url(log_uri, "").lower().startswith("s3:")


def problem_of(log_uri: str) -> str:
    """Tell why nothing could be kept at a LogUri; empty: it can."""
    from atoll.storage import open_storage  # agents are small, and do without

    if not _WHOLE.match(log_uri):
        return f"is {log_uri!r}; give s3://bucket/folder, or a folder as /path or file:///path"
    try:
        open_storage(_OLD_SCHEME.sub("s3://", log_uri))
    except InvalidInput as error:
        return f"cannot be used: {error.message}"
    return ""
