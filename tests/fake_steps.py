"""A handler of the steps' contract without a collection: for what the state machine itself does.

A run is a local folder with `scenario.json`; each call leaves a file in `calls/`.
"""

import json
import os
import time
import uuid
from pathlib import Path

from atoll.core import errors


def handler(event, _context):
    folder = Path(event["run"])
    scenario = json.loads((folder / "scenario.json").read_text())
    number = event.get("bucket", event.get("group"))
    place = f"{event['step']}-{number}" if number is not None else event["step"]
    started = time.time()
    try:
        earlier = len([call for call in calls(folder) if call["place"] == place])
        _misbehave(scenario.get(place, {}), earlier)
        return STEPS[event["step"]](event, scenario)
    finally:
        call = {"place": place, "event": event, "started": started, "ended": time.time()}
        # Others read it meanwhile: it appears whole.
        part = folder / "calls" / f"{uuid.uuid4().hex}.part"
        part.write_text(json.dumps(call))
        part.rename(part.with_suffix(".json"))


def calls(folder):
    """What was called, in the order in which it ended."""
    found = [json.loads(path.read_text()) for path in (folder / "calls").glob("*.json")]
    return sorted(found, key=lambda call: call["ended"])


def _misbehave(orders, earlier):
    time.sleep(orders.get("seconds", 0))
    if orders.get("dies"):
        os._exit(1)
    if "error" in orders and earlier < orders.get("times", 1_000_000):
        raise getattr(errors, orders["error"])("ordered by the scenario")


def _plan(event, scenario):
    return {
        "run": event["run"],
        "buckets": list(range(scenario["buckets"])),
        "groups": list(range(scenario.get("groups", 0))),
        "is_measured": scenario.get("is_measured", False),
        "is_filtered": scenario.get("is_filtered", False) and "filtered" not in event,
    }


def _refine(event, _scenario):
    failed = {
        item["bucket"]: item["error"]["Error"] for item in event["searched"] if "error" in item
    }
    return {"run": event["run"], "searched": event["searched"], "failed_buckets": failed}


STEPS = {
    "plan": _plan,
    "filter": lambda event, _: {"bucket": event["bucket"]},
    "search": lambda event, _: {"bucket": event["bucket"]},
    "fold": lambda event, _: {"group": event["group"]},
    "measure": lambda event, _: {"bucket": event["bucket"]},
    "refine": _refine,
}
