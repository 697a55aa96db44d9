"""One place that turns a URL into an obstore store and the matching Lance options.

Everything a store is told stands in `StorageOptions`; what obstore would otherwise take from the
environment (endpoint, region, keys, tokens, signing, plain http) is always given to it. Exceptions,
because their purpose is to describe the machine: without keys, `profile` or `role_arn` the store's
own chain looks for credentials (AWS_ACCESS_KEY_ID, web identity, container, instance); `profile`
and `role_arn` go through boto3, which reads its own files; proxies and server-side encryption stay
with AWS_PROXY_URL and AWS_SERVER_SIDE_ENCRYPTION; Lance obeys AWS_ALLOW_HTTP over `allow_http`.
"""

from __future__ import annotations

import builtins
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, MemoryStore

from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError, Corrupt, InvalidInput, NotFound, Unavailable
from atoll.core.files import whole_file
from atoll.storage.counting import Threads, Usage, count, count_made, count_usage
from atoll.storage.diskcache import Data, DiskCache, open_cache
from atoll.storage.failures import translated
from atoll.storage.s3 import connect_s3, endpoint_of, lance_s3_options

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

R = TypeVar("R")

__all__ = [
    "SCHEMES",
    "Storage",
    "StoredObject",
    "Threads",
    "Usage",
    "count",
    "count_made",
    "count_usage",
    "local_path",
    "open_storage",
    "written_path",
]

SCHEMES = ("file", "s3", "memory")
CHUNK_BYTES = 8 << 20
# Two ranges this close are cheaper read as one. A request to an object store takes as long as a
# few hundred kilobytes, one to a disk as long as a page.
REMOTE_GAP_BYTES = 64 << 10
LOCAL_GAP_BYTES = 1 << 10
REQUESTS_AT_ONCE = 32
# A failed request is made again after this long, then twice as long and so on, never longer than
# the second; a little less for some, lest all come back at once. Not once the third has passed.
RETRY_SECONDS, RETRY_MOST_SECONDS, RETRYING_SECONDS = 0.1, 5.0, 180.0
# Larger files go up in parts of this size.
PART_BYTES = 8 << 20
# Keys in a page of a listing.
PAGE_KEYS = 1000
# As obstore names a local file until it is whole.
_STAGED = re.compile(r"#\d+$")


@dataclass(frozen=True)
class StoredObject:
    """One object: its path below the storage root and its size in bytes.

    Attributes:
        version: what changes when it is written again: its ETag, else the time; never compared.
    """

    path: str
    size_bytes: int
    version: str = field(default="", compare=False)


@dataclass(frozen=True)
class Storage:
    """A folder or prefix that holds objects. Picklable: each process opens its own connection.

    Paths are relative to it, with "/" between segments. Every method that reaches the store raises
    `NotFound`, `Forbidden` (keys, permissions), `Unavailable` (endpoint, network, full disk) or
    `InvalidInput` (a path no store can hold).

    Attributes:
        url: normalised, no trailing slash: "file:///abs/path", "s3://bucket/prefix", "memory://name".
        options: how to reach it.
        cache: folder and size in bytes of what keeps immutable objects that were read; None keeps
            nothing.
    """

    url: str
    options: StorageOptions = StorageOptions()
    cache: tuple[Path, int] | None = None

    def __str__(self) -> str:
        """Name the place as people write it: a plain path for local folders, else the URL."""
        return self._name

    @cached_property
    def root(self) -> Path | None:
        """The folder, where it is a local one."""
        return local_path(self.url)

    @cached_property
    def _name(self) -> str:
        return str(self.root or self.url)

    def child(self, path: str) -> Storage:
        """Return the folder `path` below this one, as a storage of its own."""
        _check(path, self)
        tail = quote(path) if self.url.startswith("file://") else path
        return Storage(f"{self.url.rstrip('/')}/{tail}", self.options)

    def cached(self, folder: Path | None, limit_bytes: int) -> Storage:
        """Return the same place with what `keep` is given kept in a local folder.

        Args:
            folder: where; None keeps nothing, nor does a place that is no distant store.
            limit_bytes: how much it may hold, from whatever store.
        """
        is_kept = folder is not None and self.url.startswith("s3://")
        wanted = (folder, limit_bytes) if folder and is_kept else None
        return self if wanted == self.cache else Storage(self.url, self.options, wanted)

    def kept(self, path: str, start: int, length: int) -> bytes | None:
        """Return bytes of an immutable object that `keep` was given; None if they are not here."""
        if self._cache is None:
            return None
        data = self._cache.get(self._cache_key(path, start, length))
        return data if data is not None and len(data) == length else None

    def kept_parts(
        self, path: str, start: int, length: int, parts: Sequence[tuple[int, int]]
    ) -> builtins.list[memoryview] | None:
        """Return parts of bytes that `keep` was given; None if those are not here.

        Args:
            path, start, length: of the bytes, as they were kept.
            parts: (first byte, bytes) of each among them, ascending.
        """
        if self._cache is None:
            return None
        return self._cache.get_parts(self._cache_key(path, start, length), parts)

    def is_kept(self, path: str, start: int, length: int) -> bool:
        """Tell whether bytes that `keep` was given are here, without a look at them."""
        if self._cache is None:
            return False
        return self._cache.has(self._cache_key(path, start, length))

    def free_bytes(self) -> int:
        """Tell how much the disk of this place's cache can hold beyond what is on it."""
        assert self._cache is not None, "nothing of this place is kept"
        return self._cache.free_bytes()

    def keep(self, path: str, start: int, data: Data) -> None:
        """Keep bytes that were read from an immutable object, if this place has a cache."""
        if self._cache is not None:
            self._cache.put(self._cache_key(path, start, len(data)), data)

    @cached_property
    def _cache(self) -> DiskCache | None:
        return None if self.cache is None else open_cache(*self.cache)

    def _cache_key(self, path: str, start: int, length: int) -> str:
        return "\n".join((endpoint_of(self.options), self.url, path, str(start), str(length)))

    @property
    def gap_bytes(self) -> int:
        """How many unwanted bytes cost as much as one more request."""
        return LOCAL_GAP_BYTES if self.root else REMOTE_GAP_BYTES

    def get(self, path: str) -> bytes:
        """Read a whole object."""
        return self._request(path, partial(self._get_whole, path), gets=1)

    def _get_whole(self, path: str) -> bytes:
        if self.root is not None:
            _check(path, self)
            data = (self.root / path).read_bytes()
            count(bytes_read=len(data))
            return data
        # The answer's head says how much follows, and what may not be read is not asked on for.
        answer = obstore.get(self._objects(), self._key(path))
        count(bytes_read=answer.meta["size"])
        return _received(answer.meta["size"], lambda: answer.bytes().to_bytes())

    def find(self, path: str) -> bytes | None:
        """Read a whole object; None where there is none, told for little where it is a file."""
        try:
            if self.root is not None:
                os.stat(f"{self._name}/{path}")  # noqa: PTH116 - each search comes here
        except (FileNotFoundError, NotADirectoryError):
            count(gets=1)
            return None
        except OSError:
            pass  # said better by what follows
        try:
            return self.get(path)
        except NotFound:
            return None

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Read `length` bytes from offset `start`.

        Raises:
            Corrupt: the object ends before that.
        """
        return self.get_ranges(path, [start], [length])[0]

    def get_ranges(
        self, path: str, starts: Sequence[int], lengths: Sequence[int]
    ) -> builtins.list[bytes]:
        """Read several ranges of one object, one request each, at once.

        Args:
            path: the object.
            starts: first byte of each range, at least `gap_bytes` apart to be worth a request.
            lengths: bytes wanted of each.

        Raises:
            Corrupt: the object ends before the end of a range.
        """
        return self.get_pieces([path] * len(starts), starts, lengths)

    def get_pieces(
        self, paths: Sequence[str], starts: Sequence[int], lengths: Sequence[int]
    ) -> builtins.list[bytes]:
        """Read ranges of several objects as `get_ranges` does of one, all at once.

        Args:
            paths: the object of each range; those of one object are best given together.
            starts, lengths: first byte of each range, and bytes wanted of it.
        """
        if self.root is not None:
            count(gets=sum(map(bool, lengths)))
            found = self._read_files(paths, starts, lengths)
            count_made(bytes_read=sum(map(len, found)))
        elif len(lengths) == 1:
            found = [self._request_range(paths[0], starts[0], lengths[0])]
        else:
            # Not obstore's own get_ranges: it joins ranges up to a megabyte apart.
            found = builtins.list(_requests().map(self._request_range, paths, starts, lengths))
        for path, start, length, data in zip(paths, starts, lengths, found, strict=True):
            if len(data) != length:
                raise self._cut_off(path, start, len(data), length)
        return found

    @contextmanager
    def file(self, path: str) -> Iterator[int]:
        """Open an object of a local folder for system calls, which are then the caller's to count.

        Returns:
            Its descriptor.
        """
        with self._errors(path):
            _check(path, self)
            descriptor = os.open(f"{self._name}/{path}", os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _read_files(
        self, paths: Sequence[str], starts: Sequence[int], lengths: Sequence[int]
    ) -> builtins.list[bytes]:
        found: builtins.list[bytes] = []
        pieces = zip(paths, starts, lengths, strict=True)
        for path, of_file in groupby(pieces, itemgetter(0)):
            with self._errors(path):
                _check(path, self)
                found += _read_file(f"{self._name}/{path}", of_file)
        return found

    def _request_range(self, path: str, start: int, length: int) -> bytes:
        if not length:
            return b""

        def ask() -> bytes:
            objects, key = self._objects(), self._key(path)
            return obstore.get_range(objects, key, start=start, length=length).to_bytes()

        return self._request(path, partial(_received, length, ask), gets=1, bytes_read=length)

    def stream(self, path: str) -> Iterator[bytes]:
        """Read an object from front to back in pieces of about 8 MiB."""
        count(gets=1)
        with self._errors(path):
            answer = obstore.get(self._patient_objects(), self._key(path))
            left = answer.meta["size"]
            count(bytes_read=left)
            try:
                for piece in answer.stream(CHUNK_BYTES):
                    left -= len(piece)
                    yield bytes(piece)
            finally:
                if left:
                    count_made(bytes_read=-left)

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what was there; readers see the old or the new one, whole."""

        def ask() -> None:
            obstore.put(self._objects(), self._key(path), data, use_multipart=False)

        self._request(path, ask, puts=1, bytes_written=len(data))

    def put_file(self, path: str, source: Path) -> None:
        """Write an object from a local file, in parts where it is large; readers see it whole."""
        with self._errors(path):
            size = source.stat().st_size
            # Parts, and one request each that starts and ends them.
            parts = -(-size // PART_BYTES) + 2 if size > PART_BYTES else 1
            count(puts=parts, bytes_written=size)
            obstore.put(
                self._patient_objects(), self._key(path), source, chunk_size=PART_BYTES,
                use_multipart=parts > 1,
            )  # fmt: skip

    def put_new(self, path: str, data: bytes) -> bool:
        """Write an object only if none is there, atomically among all writers.

        Returns:
            True if this call made it. False if it exists; where a server's answer was lost, that
            can be this call's own first attempt: whoever must know compares the contents.
        """

        def ask() -> bool:
            objects, key = self._objects(), self._key(path)
            try:
                obstore.put(objects, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

        return self._request(path, ask, puts=1, bytes_written=len(data))

    def delete(self, path: str) -> None:
        """Remove an object; no error where there is none. Local folders left empty go with it."""
        root = self.root

        def ask() -> None:
            if root and _STAGED.search(path):
                (root / path).unlink(missing_ok=True)
            else:
                obstore.delete(self._objects(), self._key(path))

        with suppress(NotFound):
            self._request(path, ask, deletes=1)
        if root:
            _remove_empty_folders(root, (root / path).parent)

    def exists(self, path: str) -> bool:
        """Tell whether there is an object (not a folder) at `path`."""
        try:
            self.size(path)
        except NotFound:
            return False
        return True

    def size(self, path: str) -> int:
        """Return an object's size in bytes."""
        return self.stat(path).size_bytes

    def stat(self, path: str) -> StoredObject:
        """Return what a listing would say of one object."""

        def ask() -> StoredObject:
            return _stored(path, obstore.head(self._objects(), self._key(path)))

        return self._request(path, ask, gets=1)

    def list(
        self, prefix: str = "", *, most: int | None = None, apart: Iterable[str] = ()
    ) -> Iterator[StoredObject]:
        """List the objects below the folder `prefix`, at any depth, sorted by path.

        Args:
            prefix: the folder.
            most: end after so many, whichever the store names first; None lists all.
            apart: folders of which nothing is listed.
        """
        root = self._folder_key("")
        skip = len(root) + 1 if root else 0
        passed_over = tuple(f"{one}/" for one in apart)
        seen = 0

        def wanted() -> Iterator[StoredObject]:
            nonlocal seen
            for one in chain.from_iterable(pages):
                seen += 1
                path = one["path"][skip:]
                if not path.startswith(passed_over):
                    yield _stored(path, one)

        with self._errors(prefix):
            pages = obstore.list(self._patient_objects(), self._folder_key(prefix) or None)
            found = [*islice(wanted(), most)]
        count(lists=max(1, -(-seen // PAGE_KEYS)))
        return iter(sorted(found, key=lambda one: one.path))

    def list_unfinished(self, *, older_than_s: float = 0) -> builtins.list[StoredObject]:
        """List files that killed writers left in a local folder, which `list` does not show.

        A write that is under way looks the same. Object stores hide theirs; see the lifecycle rules
        of the store for uploads that were never completed.

        Args:
            older_than_s: leave out those last written to within so many seconds.
        """
        root = self.root
        if root is None:
            return []
        found = []
        for path in sorted(root.rglob("*#*")):
            # One that goes meanwhile has been finished.
            with suppress(NotFound), self._errors(""):
                status = path.stat()
                if _STAGED.search(path.name) and status.st_mtime <= time.time() - older_than_s:
                    found.append(StoredObject(path.relative_to(root).as_posix(), status.st_size))
        return found

    def download(self, path: str, target: Path) -> None:
        """Copy an object into a local file; `target` appears when it is complete."""
        with whole_file(target) as file:
            for piece in self.stream(path):
                file.write(piece)

    def probe_conditional_put(self) -> None:
        """Make sure that of two creators of one object the second is refused.

        Writers ask this once; without it two of them could each believe to have committed.

        Raises:
            InvalidInput: the store lets the second one win, or knows no conditional put.
        """
        path = f"_atoll/probe-{uuid.uuid4().hex}"
        try:
            # The first one's answer may have been lost and its second try refused: what counts is
            # that the second writer is.
            self.put_new(path, b"first")
            if not self.put_new(path, b"second") and self.get(path) == b"first":
                return
        finally:
            with suppress(AtollError):
                self.delete(path)
        raise InvalidInput(
            f"{self} lets a second writer replace what a first one created (it ignores "
            "If-None-Match), so writers would lose each other's data; use a store that refuses that"
        )

    def lance_uri(self, name: str = "") -> str:
        """Return what `lance.dataset()` takes for this folder, or for `name` inside it.

        Raises:
            InvalidInput: on memory://, which no Lance table can live on.
        """
        if self.url.startswith("memory://"):
            raise InvalidInput(f"{self.url} cannot hold tables; use a local folder or s3://")
        there = self.child(name) if name else self
        # Lance takes paths as they are, and decodes URLs.
        return str(local_path(there.url) or f"s3://{quote(there.url.removeprefix('s3://'))}")

    def lance_options(self) -> dict[str, str]:
        """Return the `storage_options` for Lance. Ask again for each use: keys may expire."""
        if not self.url.startswith("s3://"):
            return {}
        return lance_s3_options(_split(self.url)[1], self.options)

    def _request(self, path: str, ask: Callable[[], R], **counts: int) -> R:
        """Make one request; make it again where the store did not serve it, and count each."""
        retries = self.options.retries if self.url.startswith("s3://") else 0
        until = time.monotonic() + RETRYING_SECONDS
        for number in range(retries + 1):
            count(**counts, retries=min(number, 1))
            try:
                with self._errors(path):
                    return ask()
            except Unavailable:
                if number == retries or time.monotonic() > until:
                    raise
            wait = min(RETRY_SECONDS * 2**number, RETRY_MOST_SECONDS)
            time.sleep(random.uniform(wait / 2, wait))
        raise AssertionError

    def _objects(self) -> ObjectStore:
        """Connect for single requests, which `_request` makes again."""
        return self._connected(replace(self.options, retries=0))

    def _patient_objects(self) -> ObjectStore:
        """Connect for what takes many requests: each is made again by the client itself."""
        return self._connected(self.options)

    def _connected(self, options: StorageOptions) -> ObjectStore:
        _refuse_forked_child()
        scheme, container, _ = _split(self.url)
        return _connect(scheme, container, options)

    def _key(self, path: str) -> str:
        _check(path, self)
        return self._folder_key(path)

    def _folder_key(self, folder: str) -> str:
        folder = folder.rstrip("/")
        if folder:
            _check(folder, self)
        return "/".join(part for part in (_split(self.url)[2], folder) if part)

    def _place(self, path: str) -> str:
        return f"{str(self).rstrip('/')}/{path}" if path else str(self)

    def _cut_off(self, path: str, start: int, got: int, wanted: int) -> Corrupt:
        if not got:
            return Corrupt(
                f"{self._place(path)} is shorter than expected; it was cut off or overwritten"
            )
        return Corrupt(
            f"{self._place(path)} ends at byte {start + got} where {start + wanted} were expected; "
            "it was cut off or overwritten"
        )

    def _errors(self, path: str) -> AbstractContextManager[None]:
        is_s3 = self.url.startswith("s3://")
        return translated(self._place(path), endpoint=endpoint_of(self.options) if is_s3 else None)


def open_storage(url: str | Path, options: StorageOptions = StorageOptions()) -> Storage:
    """Turn a path or URL into a storage; nothing is asked of it yet.

    Args:
        url: "path", "~/path", "file:///path" (percent-encoded), "s3://bucket/prefix" or
            "memory://name" (lives in this process only).
        options: how to reach an S3-compatible store.

    Raises:
        InvalidInput: the scheme is not one of these, or the URL names no place.
    """
    path = local_path(url)
    if path is not None:
        return Storage(path.as_uri(), options)
    scheme, rest = str(url).split("://", 1)
    scheme, (container, _, prefix) = scheme.lower(), rest.partition("/")
    if scheme not in SCHEMES:
        raise InvalidInput(f"{url}: scheme {scheme!r} is not known; use a path, file://, s3://")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", container):
        what = "bucket" if scheme == "s3" else "name"
        raise InvalidInput(f"{url}: {container!r} is no {what}; write {scheme}://{what}/folder")
    storage = Storage(f"{scheme}://{container}", options)
    if scheme == "s3":
        endpoint_of(options)
    prefix = prefix.strip("/")
    return storage.child(prefix) if prefix else storage


def local_path(url: str | Path) -> Path | None:
    """Return the absolute local path of a path or file:// URL, None for other URLs.

    Raises:
        InvalidInput: it is empty, a file:// URL of another machine, or begins at no one's home.
    """
    path = written_path(url)
    if path is None:
        return None
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise InvalidInput(
            f"{url}: there is no home folder of {path.parts[0]!r}; write the path in full"
        ) from error
    return path.resolve() if ".." in path.parts else path.absolute()


def written_path(url: str | Path) -> Path | None:
    """Return the local path that a path or file:// URL names, as written; None for other URLs.

    Raises:
        InvalidInput: it is empty, or a file:// URL of another machine.
    """
    text = path = str(url)
    is_file = isinstance(url, str) and text.lower().startswith("file:")
    if is_file:
        rest = text[len("file:") :]
        host, slash, tail = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
        if host not in ("", "localhost"):
            raise InvalidInput(f"{url} names the machine {host!r}; write file:///path")
        path = unquote(slash + tail)
    if not path or "\0" in path:
        raise InvalidInput(f"{text!r} is not a path")
    is_other = isinstance(url, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
    return None if is_other and not is_file else Path(path)


def _split(url: str) -> tuple[str, str, str]:
    """Take a normalised URL apart: scheme, bucket or name ("" for file), key prefix."""
    scheme, rest = url.split("://", 1)
    if scheme == "file":
        return scheme, "", unquote(rest).strip("/")
    container, _, prefix = rest.partition("/")
    return scheme, container, prefix


@cache
def _requests() -> Threads:
    # They wait for the network; what they start is never joined by another that waits for them.
    return Threads(REQUESTS_AT_ONCE, thread_name_prefix="atoll-requests")


def _read_file(path: str, pieces: Iterable[tuple[str, int, int]]) -> list[bytes]:
    """Read ranges of a local file: plain system calls are far quicker than a store's client."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [os.pread(descriptor, length, start) for _, start, length in pieces]
    finally:
        os.close(descriptor)


def _received(length: int, read: Callable[[], bytes]) -> bytes:
    """Read so many bytes, which are counted already; what does not come is taken back."""
    data = b""
    try:
        data = read()
        return data
    finally:
        if len(data) != length:
            count_made(bytes_read=len(data) - length)


def _stored(path: str, found: ObjectMeta) -> StoredObject:
    version = found["e_tag"] or found["last_modified"].isoformat()
    return StoredObject(path, found["size"], version)


def _check(path: str, storage: Storage) -> None:
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise InvalidInput(f"{path!r} is not a path inside {storage}")


@cache
def _connect(scheme: str, container: str, options: StorageOptions) -> ObjectStore:
    if scheme == "s3":
        return connect_s3(container, options)
    # The whole file system is one store, so that a folder need not exist before it is written to.
    return LocalStore("/") if scheme == "file" else _memory(container)


@cache
def _memory(name: str) -> MemoryStore:
    return MemoryStore()


_first_user: dict[str, int] = {}


def _refuse_forked_child() -> None:
    """Fail where obstore would hang: its threads do not survive a fork."""
    if _first_user.setdefault("pid", os.getpid()) != os.getpid():
        raise Unavailable(
            "this process was forked from one that had already used a store, where every request "
            "would hang; start it with multiprocessing's 'spawn' method"
        )


def _remove_empty_folders(root: Path, folder: Path) -> None:
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
