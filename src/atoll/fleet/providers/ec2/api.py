"""Asks EC2, and says its errors as Atoll's: what was refused, for which call, how to mend it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)

from atoll.core.errors import (
    AtollError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress

ATTEMPTS = 5
CONNECT_SECONDS = 5
ANSWER_SECONDS = 60
"""An instant fleet answers when it has launched what it could."""
_TOLD_CHARACTERS = 400

# Source: Amazon EC2 API reference, "Error codes for the Amazon EC2 API", and EC2 user guide,
# "Troubleshoot" of EC2 Fleet. The first pattern that fits counts.
_KINDS: tuple[tuple[str, type[AtollError]], ...] = (
    (r"UnauthorizedOperation|AccessDenied.*|AuthFailure|OptInRequired|Blocked", Forbidden),
    (r"InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClientException", Forbidden),
    # An instance profile's keys are renewed by themselves.
    (r"ExpiredToken.*|RequestExpired", Unavailable),
    (r"(EC2)?Throttl.*|RequestLimitExceeded|RequestThrottled.*|.*Unavailable", Unavailable),
    (r"Internal(Error|Failure)|Server\.InternalError", Unavailable),
    (r"InsufficientFreeAddresses.*|PrivateIpAddressLimitExceeded", NoFreeAddress),
    (r"Insufficient.*|UnfulfillableCapacity|SpotMaxPriceTooLow|Unsupported", InsufficientCapacity),
    (r"MaxSpotInstanceCountExceeded|(Instance|Vcpu).*LimitExceeded", InsufficientCapacity),
    (r".*\.(InUse|Duplicate)|.*AlreadyExists.*|DependencyViolation", Conflict),
    (r"Incorrect.*State|Idempotent.*|OperationNotPermitted", Conflict),
    (r".*\.NotFound.*|.*NotFoundException", NotFound),
)


class Api:
    """EC2 of one region. Calls may come from any thread."""

    def __init__(self, region: str, endpoint_url: str | None = None) -> None:
        """Make a client; nothing is asked yet.

        Args:
            region: such as "us-east-1"; empty: as boto3 finds it.
            endpoint_url: where it is asked instead of at AWS.

        Raises:
            InvalidInput: no region is given, and boto3 finds none.
        """
        retries = {"mode": "standard", "max_attempts": ATTEMPTS}
        config = Config(
            retries=retries, connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS
        )
        try:
            self.client = boto3.client(
                "ec2", region_name=region or None, endpoint_url=endpoint_url, config=config
            )
        except NoRegionError as error:
            raise InvalidInput("EC2 needs a region; give --region or set AWS_REGION") from error
        self.region: str = self.client.meta.region_name

    def call(self, operation: str, **args: Any) -> dict[str, Any]:
        """Ask once; boto3 tries again where EC2 is busy.

        Args:
            operation: boto3's name of it, such as "run_instances".
            args: EC2's.

        Raises:
            AtollError: what EC2 refuses, as the class it is; `details` hold EC2's own code.
        """
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(**args)
        except (ClientError, BotoCoreError) as error:
            raise self._translated(error, operation, args) from _harmless(error, args)
        return answer

    def pages(self, operation: str, key: str, **args: Any) -> Iterator[dict[str, Any]]:
        """Ask for a list to its end; yields the entries under `key`."""
        try:
            for page in self.client.get_paginator(operation).paginate(**args):
                yield from page.get(key, ())
        except (ClientError, BotoCoreError) as error:
            raise self._translated(error, operation, args) from _harmless(error, args)

    def _translated(self, error: Exception, operation: str, args: Mapping[str, Any]) -> AtollError:
        action = self.client.meta.method_to_api_mapping[operation]
        told = _told(error, args)
        if isinstance(error, ClientError):
            return refusal(error.response["Error"].get("Code", ""), told, action)
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return Forbidden(
                "there are no AWS credentials; set AWS_PROFILE, or give the instance a profile",
                action=action,
            )
        kind = InvalidInput if isinstance(error, ParamValidationError) else Unavailable
        return kind(f"EC2 {self.region} {action}: {told}", action=action)


def refusal(code: str, told: str, action: str) -> AtollError:
    """Say an error of EC2's as Atoll's.

    Args:
        code: EC2's, such as "InsufficientInstanceCapacity".
        told: EC2's message.
        action: the call, such as "RunInstances".
    """
    kind = next((kind for fits, kind in _KINDS if re.fullmatch(fits, code)), InvalidInput)
    if kind is Forbidden:
        how = f"; allow ec2:{action} to whoever runs this (the guide has the whole policy)"
        return Forbidden(f"EC2 forbids {action}: {code}: {told}{how}", action=action, ec2_code=code)
    return kind(f"EC2 {action}: {code}: {told}", action=action, ec2_code=code)


def code_of(error: AtollError) -> str:
    """Return EC2's own code of an error; empty where it never came from EC2."""
    return str(error.details.get("ec2_code", ""))


def filters(**wanted: Any) -> list[dict[str, Any]]:
    """Write filters: `subnet_id="a"` or `tag={"atoll:cluster": "j-1"}`; a list means any of it."""
    found = []
    for name, value in wanted.items():
        pairs = value if isinstance(value, dict) else {"": value}
        for key, one in pairs.items():
            values = [one] if isinstance(one, str) else list(one)
            label = f"tag:{key}" if key else name.replace("_", "-")
            found.append({"Name": label, "Values": values})
    return found


def _told(error: Exception, args: Mapping[str, Any]) -> str:
    """Return an error's message without the user data: that may hold keys."""
    if isinstance(error, ClientError):
        message = str(error.response["Error"].get("Message", ""))
    else:
        message = str(error)
    for secret in _user_data(args):
        message = message.replace(secret, "(user data)")
    return " ".join(message.split())[:_TOLD_CHARACTERS]


def _harmless(error: Exception, args: Mapping[str, Any]) -> Exception | None:
    """Return the cause that may be shown: one that repeats the user data may not."""
    return None if any(secret in str(error) for secret in _user_data(args)) else error


def _user_data(args: Any) -> Iterator[str]:
    if isinstance(args, Mapping):
        for key, value in args.items():
            if key == "UserData":
                yield base64.b64encode(value).decode() if isinstance(value, bytes) else value
            else:
                yield from _user_data(value)
    elif isinstance(args, list | tuple):
        for one in args:
            yield from _user_data(one)
