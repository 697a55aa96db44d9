"""One host's server: the local cloud, the clusters it watches, and every API, in one process."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.files import whole_file
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.services import aws_services
from atoll.fleet.codec import encode
from atoll.fleet.control.service import FleetService
from atoll.fleet.engine.archives import ARCHIVES_VARIABLE, archives_folder, make_archives
from atoll.fleet.host.client import PREFIX, FleetClient
from atoll.fleet.host.exposition import METRICS, MetricsPage
from atoll.fleet.host.home import SERVING, HostSettings, Serving, keep_settings, settings_of
from atoll.fleet.host.notifierprocess import sending_notifications
from atoll.fleet.monitoring.opening import monitored
from atoll.fleet.monitoring.sending import Sender
from atoll.fleet.providers.local.faults import Faults
from atoll.fleet.providers.local.housekeeping import keeping_house
from atoll.fleet.providers.local.loopback import Loopback
from atoll.fleet.providers.local.netns import Netns
from atoll.fleet.providers.local.opening import KINDS, held, open_provider
from atoll.fleet.providers.local.privileges import can_make_namespaces
from atoll.fleet.providers.local.processes import identify
from atoll.fleet.providers.local.provider import LocalProvider
from atoll.fleet.providers.local.reading import Disks
from atoll.fleet.providers.local.world import World
from atoll.fleet.providers.port import Provider, ProviderAt
from atoll.fleet.providers.reach import EC2, LOCAL, open_ec2
from atoll.fleet.providers.server import serve_provider
from atoll.fleet.registry import FILE, Registry
from atoll.fleet.rpc.api import Api
from atoll.fleet.spec.catalogue import FILE as CATALOGUE
from atoll.fleet.spec.catalogue import load_catalogue
from atoll.fleet.wire.server import listen, serve

logger = logging.getLogger(__name__)

CLOUD = "cloud"
AUTO = "auto"
MOST_NOTIFIED = 5
"""Actions of an alarm, CloudWatch's limit: its clients refuse to read an alarm with more."""


@dataclass(frozen=True)
class HostOptions:
    """How a host is served.

    Attributes:
        home: its folder.
        address, port: where its APIs listen; port 0 takes a free one.
        provider: "netns", "loopback", "ec2", or "auto" for the first of them that this host can do;
            a home keeps the one of its first start.
        region: of EC2.
        ec2: settings of EC2, kept by the home and added to those it has; see the guide, fleet-ec2.
        cache: folder for what can be made again; None makes and keeps nothing.
        keys: secret by access key, for AWS's clients, beside the home's own.
        is_open: whether AWS's clients may call with any credentials or none.
        notified: whom the alarms of each cluster notify: URLs, "mailto:...".
        sender: how.
    """

    home: Path
    address: str = "127.0.0.1"
    port: int = 0
    provider: str = AUTO
    region: str = ""
    ec2: dict[str, str] = field(default_factory=dict)
    cache: Path | None = None
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    is_open: bool = False
    notified: tuple[str, ...] = ()
    sender: Sender = field(default_factory=Sender)


def serve_host(options: HostOptions, stopped: threading.Event) -> None:
    """Serve until `stopped` is set.

    Raises:
        Conflict: another process serves this home, or the address is taken.
        InvalidInput: one of `notified` cannot be, they are too many, or other machines could give
            orders.
        Unavailable: the host lacks what the provider needs.
    """
    if len(options.notified) > MOST_NOTIFIED:
        raise InvalidInput(
            f"{len(options.notified)} are to be notified; CloudWatch's alarms have at most "
            f"{MOST_NOTIFIED} actions, so name a mailing list or a service that tells others",
            notified=len(options.notified),
        )
    for target in options.notified:
        options.sender.check(target)
    with held(options.home):
        _serve(options, stopped)


def _serve(options: HostOptions, stopped: threading.Event) -> None:
    wanted = _possible() if options.provider == AUTO else options.provider
    settings = settings_of(options.home, wanted, options.region)
    if options.provider not in (AUTO, settings.provider):
        raise InvalidInput(
            f"{options.home} was made for provider {settings.provider!r}; start it with that, or "
            "give another --home",
            home=str(options.home),
        )
    with ExitStack() as stack:
        # Made first: opening the local cloud without root enters another network namespace.
        listener = stack.enter_context(listen(options.address, options.port))
        url = "http://{}:{}".format(*listener.getsockname()[:2])
        path, sender = options.home / FILE, options.sender
        is_sending = stack.enter_context(sending_notifications(path, sender))
        provider, at = stack.enter_context(_provided(options, settings))
        registry = Registry(path)
        stack.callback(registry.close)
        monitoring = stack.enter_context(monitored(path, registry, options.notified, is_sending))
        service = FleetService(provider, at, registry, monitoring.monitor, monitoring.alarms)
        stack.callback(service.close)
        account = Account(settings.region or Account.region)
        services = stack.enter_context(
            aws_services(path, service, monitoring, sender.check, account)
        )
        api = Api(PREFIX, {**service.calls(), **_local_calls(provider)}, settings.token)
        is_ours = ip_address(listener.getsockname()[0]).is_loopback
        page = MetricsPage(service, monitoring, None if is_ours else settings.token)
        routes = {PREFIX: api.answer, METRICS: page.answer}
        reads = {METRICS, *(f"{PREFIX}/{name}" for name in (*FleetClient.reads, *Disks.READS))}
        own = {settings.access_key: settings.secret_key}
        keys = None if options.is_open else {**options.keys, **own}
        server = serve(services, listener, keys=keys, routes=routes, reads=reads)
        stack.callback(server.stop)
        stack.enter_context(_shown(options.home, url))
        if options.is_open:
            logger.warning("every user of this machine may give orders: AWS's APIs take any keys")
        logger.info("fleet host serves url=%s provider=%s", url, settings.provider)
        stopped.wait()


def _possible() -> str:
    """Choose the local provider: machines with addresses of their own, if this host allows it."""
    return Netns.name if can_make_namespaces() else Loopback.name


@contextmanager
def _provided(
    options: HostOptions, settings: HostSettings
) -> Iterator[tuple[Provider, ProviderAt]]:
    """Open the provider, and let the clusters' controllers reach it."""
    if settings.provider == EC2:
        yield _opened_ec2(options, settings)
        return
    if settings.provider not in KINDS:
        raise InvalidInput(
            f"there is no provider {settings.provider!r}; take one of {(*KINDS, EC2)}"
        )
    environment = _passed_on(os.environ)
    archives = None if options.cache is None else _archives(options.cache)
    if archives is not None:
        environment[ARCHIVES_VARIABLE] = str(archives)
    own = options.home / CATALOGUE
    types = load_catalogue(own if own.exists() else None).types
    world = World(types=types, adopts_subnets=True, environment=environment)
    with ExitStack() as stack:
        provider = stack.enter_context(
            open_provider(options.home / CLOUD, settings.provider, world)
        )
        if archives is not None:
            _make_archives(archives, provider.ground.gateway)
        listener = listen(provider.ground.gateway, settings.cloud_port)
        address, port = listener.getsockname()[:2]
        keep_settings(options.home, replace(settings, cloud_port=port))
        stack.enter_context(serve_provider(provider, settings.cloud_token, listener))
        stack.enter_context(keeping_house(provider))
        yield provider, ProviderAt(LOCAL, f"{address}:{port}", settings.cloud_token)


def _opened_ec2(options: HostOptions, settings: HostSettings) -> tuple[Provider, ProviderAt]:
    """Open EC2 with the settings that the home has and those it is given now."""
    if (own := options.home / CATALOGUE).exists():
        # The clusters' own controllers would not know of it.
        raise InvalidInput(
            f"{own} is for local machines only; take it away, and on EC2 give bids in US dollars "
            "and the size of disks",
            file=str(own),
        )
    ec2 = {**settings.ec2, **options.ec2}
    opened = open_ec2(settings.region, ec2)
    keep_settings(options.home, replace(settings, ec2=ec2))
    return opened


def _local_calls(provider: Provider) -> dict[str, Callable[..., Any]]:
    """Return what can be made to go wrong, and read; only a local cloud can be asked that."""
    if not isinstance(provider, LocalProvider):
        return {}
    return {**Faults(provider).calls(), **Disks(provider).calls()}


def _archives(cache: Path) -> Path:
    return archives_folder(cache, java=find_java(os.environ), home=spark_home())


def _make_archives(folder: Path, address: str) -> None:
    """Make what lets daemons start in half the time; it takes a while, once on a machine."""
    logger.info("making class archives folder=%s", folder)
    try:
        make_archives(folder, address=address, java=find_java(os.environ), home=spark_home())
    except Unavailable as error:
        logger.warning("no class archives, daemons start slower error=%s", error)


def _passed_on(environment: os._Environ[str]) -> dict[str, str]:
    """Return what machines need of this process's environment: where Python and Java are."""
    names = ("PYTHONPATH", "JAVA_HOME", "VIRTUAL_ENV")
    return {name: environment[name] for name in names if name in environment}


@contextmanager
def _shown(home: Path, url: str) -> Iterator[None]:
    """Let clients find the server while the block runs."""
    path = home / SERVING
    own = identify(os.getpid())
    assert own is not None
    with whole_file(path) as file:
        file.write(encode(Serving(url, own.pid, own.started_ticks)))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def stop_on_signals(stopped: threading.Event) -> None:
    """Set an event when the process is asked to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
