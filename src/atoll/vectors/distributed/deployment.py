"""What a stack of `atoll deploy aws` has made, looked up by its name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput, NotFound
from atoll.storage.s3 import aws_client, aws_errors
from atoll.vectors.options import CLOUDS, Cloud


@dataclass(frozen=True)
class Deployment:
    """What a stack of `atoll deploy aws` has made, as its outputs name it.

    Attributes:
        stack: its name.
        outputs: by name.
    """

    stack: str
    outputs: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return an output.

        Raises:
            InvalidInput: the stack has no such part.
        """
        if name not in self.outputs:
            raise InvalidInput(
                f"stack {self.stack!r} has no {name}; it is another's, or was made without AWS "
                "Batch: render it with `atoll deploy aws`, and set its parameter Batch to true"
            )
        return self.outputs[name]

    @property
    def clouds(self) -> tuple[Cloud, ...]:
        """What of it can carry a search out."""
        return tuple(cloud for cloud in CLOUDS if cloud != "batch" or "JobQueue" in self.outputs)

    def new_run(self) -> str:
        """Name a place for a search's results, where nothing is."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"{self['Results'].rstrip('/')}/{now}-{uuid.uuid4().hex[:8]}"


def find_deployment(settings: Settings) -> Deployment:
    """Look up what was deployed.

    Raises:
        NotFound: there is no such stack.
        Forbidden, Unavailable: AWS does not let us in, or does not answer.
    """
    from botocore.exceptions import ClientError

    stack = settings.aws.stack
    with aws_errors(f"stack {stack!r}"):
        try:
            found = aws_client("cloudformation", settings).describe_stacks(StackName=stack)
        except ClientError as error:
            if "does not exist" in str(error):
                raise NotFound(
                    f"there is no stack {stack!r}; make it from what `atoll deploy aws` renders, "
                    "see docs/aws.md, or name another with --stack"
                ) from error
            raise
    outputs = found["Stacks"][0].get("Outputs", [])
    return Deployment(stack, {each["OutputKey"]: each["OutputValue"] for each in outputs})
