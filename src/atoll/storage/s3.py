"""How an S3-compatible store is reached: endpoint, region, credentials; by obstore and by Lance."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from obstore.store import S3Store

from atoll.core.config import Settings, StorageOptions
from atoll.core.errors import Forbidden, InvalidInput, NotFound, Unavailable
from atoll.core.functions import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from obstore.store import S3Credential

DEFAULT_REGION = "us-east-1"
# botocore hands out credentials that live at least 10 minutes more, and refreshes them itself;
# obstore asks again 5 minutes before what it was told.
_KEYS_KEEP = timedelta(minutes=10)


class Keys(NamedTuple):
    """One set of credentials, as signed with at this moment."""

    access_key_id: str
    secret_access_key: str
    token: str | None


def connect_s3(bucket: str, options: StorageOptions) -> S3Store:
    """Open a bucket; nothing is asked of the server yet.

    Raises:
        InvalidInput: endpoint, keys, profile or role do not make sense.
    """
    keys = _key_source(options)
    # The environment would win over `endpoint`, not over `aws_endpoint_url_s3`. Single deletes,
    # because not every store knows the bulk one.
    return S3Store(
        bucket,
        region=_region(options),
        aws_endpoint_url_s3=_bucket_endpoint(bucket, options),
        virtual_hosted_style_request=options.virtual_hosted,
        conditional_put="etag",
        skip_signature=False,
        unsigned_payload=False,
        disable_bulk_delete=True,
        credential_provider=_provider(keys) if keys else None,
        client_options={
            "allow_http": options.allow_http,
            "timeout": timedelta(seconds=options.timeout_s),
            "connect_timeout": timedelta(seconds=options.connect_timeout_s),
        },
        retry_config={"max_retries": options.retries},
    )


def lance_s3_options(bucket: str, options: StorageOptions) -> dict[str, str]:
    """Give Lance the same settings, with credentials that are fresh now.

    Without keys, profile or role nothing is said about credentials: Lance has its own chain.
    """
    said = {
        "aws_region": _region(options),
        "aws_endpoint_url_s3": _bucket_endpoint(bucket, options),
        "aws_virtual_hosted_style_request": str(options.virtual_hosted).lower(),
        "aws_conditional_put": "etag",
        "aws_skip_signature": "false",
        "aws_unsigned_payload": "false",
        "allow_http": str(options.allow_http).lower(),
        "timeout": f"{round(options.timeout_s * 1000)}ms",
        "connect_timeout": f"{round(options.connect_timeout_s * 1000)}ms",
        "client_max_retries": str(options.retries),
    }
    source = _key_source(options)
    if source:
        keys = source()
        said["aws_access_key_id"] = keys.access_key_id
        said["aws_secret_access_key"] = keys.secret_access_key
        if keys.token:
            said["aws_session_token"] = keys.token
    return said


def endpoint_of(options: StorageOptions) -> str:
    """Name the server that is asked, as "scheme://host[:port]".

    Raises:
        InvalidInput: it is no http or https URL, or http without `allow_http`.
    """
    if options.endpoint is None:
        region = _region(options)
        return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    parts = urlsplit(options.endpoint.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc or " " in parts.netloc:
        raise InvalidInput(
            f"endpoint {options.endpoint!r} is not a URL; write it as https://host[:port]"
        )
    if parts.scheme == "http" and not options.allow_http:
        raise InvalidInput(
            f"endpoint {options.endpoint!r} is not encrypted; use https, or set allow_http if the "
            "network is trusted"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _bucket_endpoint(bucket: str, options: StorageOptions) -> str:
    endpoint = endpoint_of(options)
    return endpoint.replace("://", f"://{bucket}.", 1) if options.virtual_hosted else endpoint


def _region(options: StorageOptions) -> str:
    if options.region:
        return options.region
    if options.profile or options.role_arn:
        return _session(options).region_name or DEFAULT_REGION
    return DEFAULT_REGION


@cache
def _key_source(options: StorageOptions) -> Callable[[], Keys] | None:
    """Return what answers with credentials valid now, or None for the store's own chain."""
    if bool(options.access_key_id) != bool(options.secret_access_key):
        raise InvalidInput("access_key_id and secret_access_key belong together; one is missing")
    if options.role_arn or options.profile:
        return _boto3_keys(options)
    if not options.access_key_id or not options.secret_access_key:
        return None
    keys = Keys(options.access_key_id, options.secret_access_key, options.session_token)
    return lambda: keys


def _provider(keys: Callable[[], Keys]) -> Callable[[], S3Credential]:
    # A provider, not static options: those would be mixed with AWS_SESSION_TOKEN's value.
    def provide() -> S3Credential:
        now = keys()
        return {
            "access_key_id": now.access_key_id,
            "secret_access_key": now.secret_access_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + _KEYS_KEEP,
        }

    return provide


def _boto3_keys(options: StorageOptions) -> Callable[[], Keys]:
    """Look credentials up through boto3, which refreshes those that expire."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import BotoCoreError, ClientError

    who = f"role {options.role_arn!r}" if options.role_arn else f"profile {options.profile!r}"
    session = _session(options)
    credentials = session.get_credentials()
    if credentials is None:
        raise Forbidden(f"{who}: no credentials to start from; log in, or give keys")
    if options.role_arn:
        fetcher = AssumeRoleCredentialFetcher(
            partial(session._session.create_client, region_name=_region(options)),
            credentials,
            options.role_arn,
            extra_args={"RoleSessionName": "atoll"},
        )
        credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    def now() -> Keys:
        try:
            frozen = credentials.get_frozen_credentials()
        except ClientError as error:
            raise Forbidden(f"{who} was refused: {error}") from error
        except BotoCoreError as error:
            raise Unavailable(f"{who}: no credentials could be had: {error}") from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    return now


def aws_client(
    service: str, settings: Settings, connections: int = 10, *, is_repeatable: bool = True
) -> Any:
    """Connect to a service of AWS, with the credentials that S3 is reached with.

    Args:
        service: as boto3 names it.
        settings: the `storage` and `aws` of them count.
        connections: requests at once.
        is_repeatable: whether a request whose answer was lost may be made again. AWS Batch would
            start a submitted job twice.

    Raises:
        InvalidInput: boto3 is not installed, or there is no such profile.
    """
    session = _session(settings.storage)
    from botocore.config import Config

    tries = settings.storage.retries + 1 if is_repeatable else 1
    return session.client(
        service,
        endpoint_url=settings.aws.endpoint,
        region_name=_region(settings.storage),
        config=Config(
            max_pool_connections=connections,
            # As long as a function may take.
            read_timeout=TIMEOUT_SECONDS[1] + 30,
            retries={"mode": "standard", "total_max_attempts": tries},
        ),
    )


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Raise what boto3 raises within the block as one of Atoll's errors.

    Args:
        what: was asked for, for the message.

    Raises:
        Forbidden, NotFound, InvalidInput, Unavailable: as AWS says.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        said = f"{what}: {error}"
        if re.search("AccessDenied|Unauthorized|Token|Signature|NotAuthorized", code):
            raise Forbidden(f"{said}; check the keys, and what they may do") from error
        if re.search("NotFound|DoesNotExist|NoSuch", code):
            raise NotFound(said) from error
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        if status >= 500 or status == 429 or "Throttl" in code or "TooMany" in code:
            raise Unavailable(f"{said}; try again later") from error
        raise InvalidInput(said) from error
    except BotoCoreError as error:
        raise Unavailable(f"{what}: AWS did not answer: {error}") from error


@cache
def _session(options: StorageOptions) -> Any:
    try:
        import boto3
    except ImportError as error:
        raise InvalidInput(
            "profiles, roles and what runs on AWS need boto3: install atoll[aws]"
        ) from error
    from botocore.exceptions import ProfileNotFound

    try:
        return boto3.Session(
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            aws_session_token=options.session_token,
            region_name=options.region,
            profile_name=options.profile,
        )
    except ProfileNotFound as error:
        raise InvalidInput(f"{error}; see ~/.aws/config for those there are") from error
