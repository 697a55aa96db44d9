"""Where the objects of a collection lie.

<uri>/<bucket>.lance                     a table; any LanceDB client opens it
<uri>/_atoll/manifests/<number>.json     versions of the collection; the highest number is current
<uri>/_atoll/hint                        a recent number, so that nobody lists thousands, and the
                                         manifest's size and hash
<uri>/_atoll/oldest                      the number below which `gc` has removed what it could
<uri>/_atoll/models/<hash>.npz           index models
<uri>/_atoll/blobs/<hash>                per bucket: layout, id index, ids, deleted rows; recall
<uri>/_atoll/builds/<plan hash>/         a running build: its model, its records of written tables,
                                         what its steps leave for each other
<uri>/_atoll/reports/<bucket>.csv        rows that a bucket left out
<uri>/_atoll/leases/<kind>-<id>.json     who builds or collects garbage now
"""

from __future__ import annotations

FOLDER = "_atoll"
TABLE_SUFFIX = ".lance"
# As `bucket_name` makes them; whatever else lies in the folder is not ours to remove.
TABLE_PATTERN = r"bucket_\d{5,}_[0-9a-f]{8}\.lance"


def build_path(plan: str, name: str) -> str:
    """Name an object of a running build."""
    return f"{FOLDER}/builds/{plan}/{name}"


def report_path(table: str) -> str:
    """Name the object that lists the rows a bucket left out."""
    return f"{FOLDER}/reports/{table}.csv"


def bucket_name(number: int, fingerprint: str) -> str:
    """Name a bucket: `number` within its build, a hash of all that decides what it holds."""
    return f"bucket_{number:05d}_{fingerprint[:8]}"
