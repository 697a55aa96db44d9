"""What is taken in a request about forms and proposals, and what is not."""

import msgspec
import pytest

from atoll.core.records import converted
from atoll.mesh.service.forms import FormInput, NewFormType
from atoll.mesh.service.guardrails import NewGuardrails
from atoll.mesh.service.proposals import NewProposal

FIELDS = [{"name": "a"}]
SUBJECT = {"subject_id": "asset-a", "path": "name"}


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (NewFormType, {"name": "Refresh", "fields": FIELDS}),
        (FormInput, {"form_type": "Refresh", "content": {"a": None, "b": [1, "x"], "c": 1.5}}),
        (NewProposal, {**SUBJECT, "after": ["a"]}),
        (NewProposal, SUBJECT),
        (NewGuardrails, {"min_score": 80, "longest_access_s": 0}),
    ],
)
def test_20_what_is_in_bounds_is_taken(kind, given):
    assert converted(given, kind)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (NewFormType, {"name": "Refresh", "fields": []}),
        (NewFormType, {"name": "Refresh", "fields": FIELDS * 201}),
        (NewFormType, {"name": "two words", "fields": FIELDS}),
        (NewFormType, {"name": "Refresh\n", "fields": FIELDS}),
        (NewFormType, {"name": "a/b", "fields": FIELDS}),
        (NewFormType, {"name": "Refresh", "fields": [{"name": "__proto__"}]}),
        (NewFormType, {"name": "Refresh", "fields": [{"name": "a", "type": "BLOB"}]}),
        (NewFormType, {"name": "Refresh", "fields": [{"name": "a", "is_secret": True}]}),
        (FormInput, {"form_type": "Refresh", "content": {f"a{n}": 1 for n in range(201)}}),
        (FormInput, {"form_type": "Refresh", "content": {"a": {"b": 1}}}),
        (FormInput, {"form_type": "Refresh", "content": {"a": [[1]]}}),
        (FormInput, {"form_type": "Refresh", "content": {"a": [1] * 101}}),
        (FormInput, {"form_type": "Refresh", "content": {"a": "x" * 10_001}}),
        (FormInput, {"form_type": "Refresh", "content": {"a": "\x1b[31m"}}),
        (NewProposal, {**SUBJECT, "path": "x" * 1201}),
        (NewProposal, {**SUBJECT, "after": {"a": 1}}),
        (NewProposal, {**SUBJECT, "subject_id": "asset/../a"}),
        (NewGuardrails, {"min_score": 101}),
        (NewGuardrails, {"longest_access_s": -1}),
        (NewGuardrails, {"request_expires_s": 0}),
        (NewGuardrails, {"default_classification": "SECRET"}),
    ],
)
def test_20_what_is_out_of_bounds_is_refused(kind, given):
    with pytest.raises(msgspec.ValidationError):
        converted(given, kind)
