"""What may stand in an audit event (48)."""

from enum import StrEnum

import pytest
from mesh_chains import event

from atoll.core.errors import InvalidInput
from atoll.mesh.audit.model import MAX_DETAILS_DEPTH, MAX_DETAILS_VALUES


class State(StrEnum):
    ALLOWED = "ALLOWED"


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {}


def test_details_are_text_with_sorted_names():
    made = event(details={"b": 1, "a": {"z": [1.0, None], "y": True}}, policies=["p1"])
    assert made.details == '{"a":{"y":true,"z":[1.0,null]},"b":1}'
    assert (made.policies, made.seq, made.hash) == (("p1",), 0, "")


def test_later_changes_of_what_was_handed_in_change_no_event():
    details = {"rows": 1}
    made = event(details=details)
    details["password"] = "hunter2"
    assert made.details == '{"rows":1}'


def test_members_of_enumerations_become_plain_text():
    made = event(State.ALLOWED, State.ALLOWED, project=State.ALLOWED, policies=[State.ALLOWED])
    values = (made.operation, made.outcome, made.project, *made.policies)
    assert {type(value) for value in values} == {str}


SECRETS = (
    "password userPassword PASSWD db-password client_secret clientSecret token accessToken jwt "
    "access_token_hash sessiontoken tokens API-Key APIKey secret_access_key privateKey credentials "
    "Authorization set-cookie"
)
HARMLESS = (
    "token_id tokenId credential_ids tokenizer secretary key_id next_key_id password_changed_at "
    "tokens_count policy compass public_key primary_keys"
)


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_of_secrets_are_refused_wherever_they_stand(name):
    for details in ({name: "x"}, {"a": [{"b": {name: None}}]}):
        with pytest.raises(InvalidInput, match="looks like a secret by its name") as refused:
            event(details=details)
        assert name in refused.value.message


@pytest.mark.parametrize("name", HARMLESS.split())
def test_names_that_only_resemble_those_of_secrets_are_kept(name):
    assert name in event(details={name: "x"}).details


@pytest.mark.parametrize(
    ("details", "wrong"),
    [
        ([], "not an object"),
        ({"a": float("nan")}, "details.a .* finite"),
        ({"a": [0, float("-inf")]}, r"details.a.1 .* finite"),
        ({"a": b"x"}, "bytes, which JSON does not know"),
        ({"a": {1, 2}}, "set, which JSON does not know"),
        ({1: "a"}, "no text"),
        ({"\ud800": 1}, "no text"),
        ({"a": "\ud800"}, "half a character"),
        ({"a": 2**63}, "64 bits"),
        ({"a": "x" * 20_000}, "more than 16,384 characters"),
        ({"a": "x" * 9000, "b": "x" * 9000}, "takes 18,015 bytes"),
        ({"a": [0] * MAX_DETAILS_VALUES}, "more than 1,000 values"),
        (nested(MAX_DETAILS_DEPTH), "nested deeper than 8"),
    ],
)
def test_details_that_cannot_stay_are_refused_by_place(details, wrong):
    with pytest.raises(InvalidInput, match=wrong):
        event(details=details)


def test_details_that_hold_themselves_are_refused():
    details = {}
    details["a"] = details
    with pytest.raises(InvalidInput, match="nested deeper"):
        event(details=details)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"principal": ""}, "principal of an audit event is empty"),
        ({"via": None}, "via of an audit event is NoneType"),
        ({"project": ""}, "project of an audit event is empty"),
        ({"asset_id": "a\0b"}, "zero byte"),
        ({"resource_id": "\udc00"}, "half a character"),
        ({"resource_id": "x" * 1025}, "1,025 characters, more than 1,024"),
        ({"policies": ["p"] * 101}, "101, more than 100"),
        ({"policies": [1]}, "policies of an audit event is int"),
        ({"outcome": "MAYBE"}, "none of ALLOWED, DENIED, FAILED"),
        ({"operation": "RotateAuditKey"}, "only a rotation"),
    ],
)
def test_fields_that_no_database_could_keep_are_refused_by_name(given, wrong):
    with pytest.raises(InvalidInput, match=wrong):
        event(**given)


def test_a_refusal_quotes_no_value():
    with pytest.raises(InvalidInput) as refused:
        event(details={"password": "hunter2", "a": "hunter2\ud800"})
    assert "hunter2" not in f"{refused.value.message} {refused.value.details}"
