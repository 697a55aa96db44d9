"""SPREAD: every primary on hardware of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from atoll.fleet.providers.port import InsufficientCapacity


def spread(count: int, free: Mapping[str, int], used: Collection[str]) -> tuple[str, ...]:
    """Choose a rack for each of some machines, none twice and none that is used.

    Args:
        count: machines to place.
        free: machines that still fit, by rack.
        used: racks of the other machines of the same group.

    Returns:
        Racks, the emptiest first, equal ones by name.

    Raises:
        InsufficientCapacity: there are not so many racks.
    """
    racks = [name for name, room in free.items() if room > 0 and name not in used]
    racks.sort(key=lambda name: (-free[name], name))
    if len(racks) < count:
        raise _too_few(count, racks, free, used)
    return tuple(racks[:count])


def _too_few(
    count: int, racks: list[str], free: Mapping[str, int], used: Collection[str]
) -> InsufficientCapacity:
    full = sorted(name for name, room in free.items() if room <= 0 and name not in used)
    facts = [f"{len(racks)} free ({', '.join(racks)})" if racks else "none is free"]
    if used:
        facts.append(f"in use by the group: {', '.join(sorted(used))}")
    if full:
        facts.append(f"full: {', '.join(full)}")
    return InsufficientCapacity(
        f"SPREAD needs {count} racks of their own; {'; '.join(facts)}; free a machine there, or"
        " launch without SPREAD",
        needed=count,
        free=racks,
        used=sorted(used),
        full=full,
    )
