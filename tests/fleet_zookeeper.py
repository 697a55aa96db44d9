"""An ensemble in memory, as kazoo's clients see it; it counts what it is asked."""

from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError, NotEmptyError


@dataclass
class Node:
    data: bytes
    owner: int
    version: int = 0


class Ensemble:
    """Its nodes, by path."""

    def __init__(self, ctime=1):
        self.nodes, self.asked, self.ctime = {"": Node(b"", 0)}, Counter(), ctime

    def client(self, session=1):
        return Client(self, session)

    def end(self, session):
        """Let a session end."""
        self.nodes = {path: one for path, one in self.nodes.items() if one.owner != session}


class Client:
    """A started client."""

    def __init__(self, ensemble, session):
        self._ensemble, self.client_id, self.connected = ensemble, (session, b""), True

    def _node(self, call, path):
        self._ensemble.asked[call] += 1
        if path not in self._ensemble.nodes:
            raise NoNodeError
        return self._ensemble.nodes[path]

    def _stat(self, node):
        return SimpleNamespace(
            version=node.version, ephemeralOwner=node.owner, ctime=self._ensemble.ctime
        )

    def ensure_path(self, path):
        if path not in self._ensemble.nodes:
            self.create(path, makepath=True)

    def create(self, path, value=b"", ephemeral=False, sequence=False, makepath=False):
        parent = path.rpartition("/")[0]
        if makepath:
            self.ensure_path(parent)
        self._node("create", parent)
        if sequence:
            path += f"{len(self._below(parent)):010d}"
        if path in self._ensemble.nodes:
            raise NodeExistsError
        self._ensemble.nodes[path] = Node(value, self.client_id[0] if ephemeral else 0)
        return path

    def get(self, path):
        node = self._node("get", path)
        return node.data, self._stat(node)

    def get_async(self, path):
        return SimpleNamespace(get=lambda: self.get(path))

    def exists(self, path):
        try:
            return self._stat(self._node("exists", path))
        except NoNodeError:
            return None

    def set(self, path, value, version=-1):
        node = self._node("set", path)
        if version not in (-1, node.version):
            raise BadVersionError
        node.data, node.version = value, node.version + 1
        return self._stat(node)

    def delete(self, path):
        self._node("delete", path)
        if self._below(path):
            raise NotEmptyError
        del self._ensemble.nodes[path]

    def get_children(self, path, include_data=False):
        node = self._node("get_children", path)
        names = [one.removeprefix(f"{path}/") for one in self._below(path)]
        return (names, self._stat(node)) if include_data else names

    def _below(self, path):
        nodes = self._ensemble.nodes
        return [one for one in nodes if one and one.rpartition("/")[0] == path]
