"""The application that a server runs: all routes, and how each tells who asks."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.core.errors import AtollError
from atoll.mesh.http.openapi import document
from atoll.mesh.http.routes import encoded, refused, route
from atoll.mesh.http.signing import caller_of, routes
from atoll.mesh.operations.calls import Performer
from atoll.mesh.service import OPERATIONS
from atoll.mesh.service.signing import Doorkeeper

if TYPE_CHECKING:
    from atoll.mesh.service.sso import SingleSignOn


def application(
    performer: Performer, doorkeeper: Doorkeeper, sso: SingleSignOn | None = None
) -> Starlette:
    """Make the application of one mesh; without `sso` it has no sign-in providers."""
    listed = OPERATIONS.values()
    told = document(listed, title="Atoll mesh", version=version("atoll"))

    async def openapi(request: Request) -> Response:
        return encoded(told)

    async def health(request: Request) -> Response:
        return encoded({"status": "ok"})

    handlers: dict[Any, Any] = dict.fromkeys((AtollError, HTTPException, Exception), refused)
    made = Starlette(
        routes=[
            *(route(one, performer, caller_of(doorkeeper)) for one in listed),
            *routes(doorkeeper, sso),
            Route("/v1/openapi.json", openapi),
            Route("/healthz", health),
        ],
        exception_handlers=handlers,
    )
    # It would lead to whatever host the request names.
    made.router.redirect_slashes = False
    return made
