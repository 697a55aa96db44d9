"""The joint: which model a service has, and what its operations do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from atoll.core.errors import AtollError, InvalidInput
from atoll.fleet.wire.conform import misfits
from atoll.fleet.wire.errors import ErrorTable, InvalidParameters, ServiceError

Handler = Callable[[dict[str, Any]], dict[str, Any]]


class UnfitOutput(AtollError):
    """A handler returned what its operation's output shape does not allow: a bug of ours."""


@dataclass(frozen=True)
class Service:
    """One service of AWS as Atoll provides it.

    Attributes:
        model_name: botocore's: "emr", "cloudformation", "cloudwatch".
        handlers: by operation, "ListClusters". Each gets the parameters by their names in the
            model (instants as aware `datetime`, blobs as `bytes`) and returns the output alike,
            without the members that have no value.
        errors: what errors that handlers raise are called on the wire.
    """

    model_name: str
    handlers: Mapping[str, Handler]
    errors: ErrorTable

    def __post_init__(self) -> None:
        """Refuse a handler that nobody could call."""
        unknown = sorted(set(self.handlers) - set(self.model.operation_names))
        if unknown:
            raise InvalidInput(
                f"service {self.model_name!r} has no operation {', '.join(unknown)}; spell handlers"
                " as botocore's model does",
                unknown=unknown,
            )

    @cached_property
    def model(self) -> Any:
        """botocore's model of the service."""
        return load_model(self.model_name)

    def operation(self, name: str) -> Any:
        """Give botocore's model of an operation.

        Raises:
            ServiceError: the service has no such operation, or Atoll does not provide it.
        """
        if name not in self.model.operation_names:
            raise unknown_operation(f"{self.model.service_id} has no operation {name!r}")
        if name not in self.handlers:
            raise ServiceError(
                f"Atoll does not provide operation {name} of {self.model.service_id}; it provides "
                f"{', '.join(sorted(self.handlers))}",
                name="NotImplemented",
                http_status=501,
            )
        return self.model.operation_model(name)

    def call(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Hold parameters against the model, call the handler, hold its output against the model.

        Raises:
            InvalidParameters: the parameters do not fit; every misfit is named.
            ServiceError: there is no such operation, or no handler of it.
            UnfitOutput: the handler's output does not fit. What it raises comes as it is.
        """
        operation = self.operation(name)
        found = misfits(parameters, operation.input_shape)
        if found:
            raise InvalidParameters("; ".join(found), misfits=found)
        output = self.handlers[name](parameters)
        found = misfits(output, operation.output_shape)
        if found:
            raise UnfitOutput(
                f"the handler of {self.model_name}.{name} returned what the model does not allow: "
                + "; ".join(found),
                misfits=found,
            )
        return output


def unknown_operation(message: str) -> ServiceError:
    """Make the error of a request for an operation, or a service, that does not exist."""
    message = re.sub(r"[^\x20-\x7e]", "?", message)
    return ServiceError(message, name="UnknownOperationException", http_status=404)


@lru_cache
def load_model(name: str) -> Any:
    """Load the model of a service that botocore ships.

    Raises:
        InvalidInput: botocore is not installed.
    """
    try:
        from botocore.loaders import create_loader
        from botocore.model import ServiceModel
    except ImportError as error:
        raise InvalidInput(
            "AWS's protocols need botocore: install atoll[fleet]", module="botocore"
        ) from error
    return ServiceModel(create_loader().load_service_model(name, "service-2"), name)
