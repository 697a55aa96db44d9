"""Where tests keep what a mesh knows: a file, or with `--database postgresql` a real server.

Each folder has its database, as with SQLite; tests of SQLite's file itself are marked `sqlite`.
"""

import shutil

_servers, _urls = [], {}


def use(server, template):
    """Keep everything on a PostgreSQL server from now on; `template` is a database with tables."""
    _servers.append((server, template))


def elsewhere(folder):
    """Return the URL of a folder's database on the server; empty: it is a file in the folder."""
    if _servers and folder not in _urls:
        server, template = _servers[-1]
        _urls[folder] = server.new_database(template)
    return _urls.get(folder, "")


def database_of(folder):
    """Return the URL of a folder's database; it is made with the first call."""
    return elsewhere(folder) or f"sqlite:///{folder}/mesh.db"


def copied(folder, to):
    """Copy the folder of a mesh that nobody serves, with its database."""
    shutil.copytree(folder, to)
    if _servers:
        _urls[to] = _servers[-1][0].new_database(elsewhere(folder).rpartition("/")[2])


def cleared(since):
    """Remove the databases that were made since there were so many; return how many there are."""
    for folder in list(_urls)[since:]:
        _servers[-1][0].drop(_urls.pop(folder))
    return len(_urls)
