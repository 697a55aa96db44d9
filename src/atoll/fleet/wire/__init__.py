"""Servers that speak AWS's protocols, driven by botocore's service models.

Nothing here is written per operation, and nothing here knows a cluster: a `Service` joins the name
of a model with one handler an operation, `serve` puts several of them at one address.

Read in this order: `message` the nouns, `service` the joint to what a service means, `gateway` what
becomes of a request, `protocol` what a protocol must do; `jsonrpc`, `cborrpc`, `query` do it, from
`tree`, `cbor`, `xml`, `instants`; `conform` holds values against shapes, `signature` checks SigV4,
`connection` and `server` are the sockets.
"""

from atoll.fleet.wire.connection import Limits
from atoll.fleet.wire.errors import CLOUDFORMATION, CLOUDWATCH, EMR, ServiceError
from atoll.fleet.wire.message import Request, Response
from atoll.fleet.wire.server import Server, serve
from atoll.fleet.wire.service import Service

__all__ = [
    "CLOUDFORMATION",
    "CLOUDWATCH",
    "EMR",
    "Limits",
    "Request",
    "Response",
    "Server",
    "Service",
    "ServiceError",
    "serve",
]
