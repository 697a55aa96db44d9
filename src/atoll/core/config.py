"""Settings: frozen, read once in `app` (file, environment, arguments) and handed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from atoll.core.resources import available_memory, available_threads


@dataclass(frozen=True)
class StorageOptions:
    """How to reach an S3-compatible object store; ignored for local folders.

    With neither keys nor `profile` nor `role_arn` the store's own chain is used (instance or
    container metadata, web identity). `profile` and `role_arn` need the `aws` extra.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    role_arn: str | None = None
    allow_http: bool = False
    virtual_hosted: bool = False
    timeout_s: float = 120.0
    connect_timeout_s: float = 10.0
    retries: int = 5


@dataclass(frozen=True)
class AwsOptions:
    """What runs on AWS for us.

    Attributes:
        stack: name of the CloudFormation stack that `atoll deploy aws` describes.
        endpoint: of all AWS services but S3; None is AWS itself.
        prices: file of prices; None takes Atoll's own.
        inside_region: whether this machine is in the store's region, so that what it reads costs
            nothing to carry.
    """

    stack: str = "atoll"
    endpoint: str | None = None
    prices: Path | None = None
    inside_region: bool = False


@dataclass(frozen=True)
class MailServer:
    """Through what mail is sent.

    Attributes:
        host, port: of the SMTP server.
        sender: the address it comes from.
        starttls: whether the connection must be encrypted before anything is said.
        user, password: as whom; empty: without.
    """

    host: str
    sender: str
    port: int = 587
    starttls: bool = True
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Settings:
    """What a run may use and how it talks.

    Attributes:
        threads: processors to use.
        memory_bytes: memory the run may hold at once, all processes together.
        cache_bytes: of that, what an open collection may keep of what it read.
        disk_cache: folder that keeps what searches read from object stores, for all processes of
            this machine; None keeps nothing.
        disk_cache_bytes: how much it may hold.
        read_consistency_s: seconds within which an open collection need not look again for a newer
            version before it reads; 0 looks every time.
        scratch: folder for spill files; None is the system's temporary folder.
        rates: file of what was measured on this machine (`atoll bench-here`); None keeps nothing.
        fleet_home: folder of this machine's fleet host: its clusters, and the local machines.
        fleet_cache: folder of what fleet hosts can make again: archives of Java classes.
        fleet_url: a fleet host elsewhere; None is this machine's, started when it is needed.
        fleet_token: as whom that one is asked.
        mesh_home: folder of the mesh that `atoll serve` serves.
        mesh_database: URL of the database of that mesh; None: a file in its folder.
        mesh_credentials: file of how that mesh reaches stores; None: as this machine does.
        mesh_anchors: URL of where that mesh writes down the end of its audit; None: its folder.
        mesh_policies: file of further policies of that mesh, in Cedar; None: Atoll's alone.
        mesh_url: the mesh that `atoll mesh` asks.
        mesh_token: as whom.
        mesh_login: file in which `atoll mesh login --save` keeps both.
        mesh_providers: file of the sign-in providers of that mesh; None: it has none.
        mesh_webhook_networks: where the mesh's webhooks may go besides public addresses, such as
            "10.1.0.0/16, fd00::/8".
        quiet: whether a command says no more than its result.
        storage: how to reach object stores.
        aws: what runs on AWS for us.
        mail: through what the mesh sends mail; None: it sends none.
        function_mb: memory of the function of AWS Lambda that this is, in MB; 0 where it is none.
    """

    threads: int = field(default_factory=available_threads)
    memory_bytes: int = field(default_factory=lambda: available_memory() // 2)
    cache_bytes: int = field(default_factory=lambda: available_memory() // 8)
    disk_cache: Path | None = None
    disk_cache_bytes: int = 4 << 30
    read_consistency_s: float = 0.0
    scratch: Path | None = None
    rates: Path | None = None
    fleet_home: Path | None = None
    fleet_cache: Path | None = None
    fleet_url: str | None = None
    fleet_token: str | None = field(default=None, repr=False)
    mesh_home: Path | None = None
    mesh_database: str | None = field(default=None, repr=False)
    mesh_credentials: Path | None = None
    mesh_anchors: str | None = None
    mesh_policies: Path | None = None
    mesh_url: str | None = None
    mesh_token: str | None = field(default=None, repr=False)
    mesh_login: Path | None = None
    mesh_providers: Path | None = None
    mesh_webhook_networks: str = ""
    quiet: bool = False
    storage: StorageOptions = StorageOptions()
    aws: AwsOptions = AwsOptions()
    mail: MailServer | None = None
    function_mb: int = 0

    @property
    def is_leaving_region(self) -> bool:
        """Whether what this machine reads from a distant store leaves that store's region."""
        return self.storage.endpoint is None and not self.aws.inside_region
