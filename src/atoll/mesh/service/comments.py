"""Comments on a subscription request: what those who ask and those who own say to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import Conflict
from atoll.mesh.model.access import Comment, SubscriptionRequest
from atoll.mesh.model.record import Text, in_order, new_id
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Page, Right, operation

MOST_OF_REQUEST = 1000


class NewComment(Ask, frozen=True, kw_only=True):
    """What is said."""

    text: Annotated[Text, Meta(min_length=1)]


@operation("POST", "/subscription-requests/{subscription_request_id}/comments", Right.VIEW)
def create_comment(call: Call, request: SubscriptionRequest, ask: NewComment) -> Comment:
    """Say something on a request, before or after it was decided; nobody takes it back."""
    if call.count(Comment, request_id=request.id) >= MOST_OF_REQUEST:
        raise Conflict(f"there are {MOST_OF_REQUEST} comments already; talk to each other")
    id_ = new_id(in_order(Comment.KIND, call.now))
    return call.add(Comment, id_=id_, request_id=request.id, text=ask.text)


@operation("GET", "/subscription-requests/{subscription_request_id}/comments", Right.VIEW)
def list_comments(call: Call, request: SubscriptionRequest, ask: Page) -> Iterator[Comment]:
    """List what was said on a request, the first first."""
    return call.shown(Comment, request_id=request.id)


@operation("GET", "/comments/{comment_id}", Right.VIEW)
def get_comment(call: Call, comment: Comment) -> Comment:
    """Show a comment."""
    return comment
