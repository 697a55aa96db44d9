"""SPREAD: every primary on hardware of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from atoll.fleet.capacity import InsufficientCapacity


def spread(count: int, load: Mapping[str, int], used: Collection[str]) -> tuple[str, ...]:
    """Choose a rack for each of some machines, none twice and none that is used.

    Args:
        count: machines to place.
        load: machines that stand there, by rack.
        used: racks of the other machines of the same group.

    Returns:
        Racks, the emptiest first, equal ones by name.

    Raises:
        InsufficientCapacity: there are not so many racks.
    """
    free = sorted((machines, name) for name, machines in load.items() if name not in used)
    if len(free) < count:
        names = ", ".join(sorted(name for _, name in free)) or "none"
        taken = ", ".join(sorted(used)) or "none"
        raise InsufficientCapacity(
            f"SPREAD needs {count} more racks, each for one machine of the group; free: {names};"
            f" taken by the group: {taken}; launch without SPREAD, or where there are more racks",
            needed=count,
            free=[name for _, name in free],
            used=sorted(used),
        )
    return tuple(name for _, name in free[:count])
