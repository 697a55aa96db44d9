"""Where the objects of a collection lie.

<uri>/<bucket>.lance                     a table; any LanceDB client opens it
<uri>/_atoll/manifests/<number>.json     versions of the collection; the highest number is current
<uri>/_atoll/hint                        a recent number, so that nobody lists thousands
<uri>/_atoll/oldest                      the number below which `gc` has removed what it could
<uri>/_atoll/models/<hash>.npz           index models
<uri>/_atoll/blobs/<hash>                per bucket: layout, id index, ids, deleted rows; recall
<uri>/_atoll/builds/<plan hash>/         a running build: its model, its records of written tables
<uri>/_atoll/reports/<bucket>.csv        rows that a bucket left out
<uri>/_atoll/leases/<id>.json            who builds or collects garbage now
"""

from __future__ import annotations

FOLDER = "_atoll"


def build_path(plan: str, name: str) -> str:
    """Name an object of a running build."""
    return f"{FOLDER}/builds/{plan}/{name}"


def report_path(table: str) -> str:
    """Name the object that lists the rows a bucket left out."""
    return f"{FOLDER}/reports/{table}.csv"
