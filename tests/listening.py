"""Where processes listen, and how the kernel writes addresses."""

from contextlib import suppress
from pathlib import Path


def listening(pid):
    """Addresses a process listens on, over IPv4 and IPv6, as the kernel writes them."""
    proc, sockets = Path(f"/proc/{pid}"), set()
    for link in (proc / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(str(link.readlink()))
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in (proc / "net" / table).read_text().splitlines()[1:]
    ]
    return {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets
    }


def written(address):
    """An IPv4 address in both of the kernel's tables."""
    own = bytes(map(int, address.split(".")))[::-1].hex().upper()
    return {own, f"0000000000000000FFFF0000{own}"}
