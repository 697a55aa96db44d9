"""The OpenAPI document, made from the operations.

Source: OpenAPI Specification 3.1.0; schemas by msgspec (JSON Schema 2020-12).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from atoll.mesh.operations.registry import Download, Nothing, Operation

_REFERENCE = "#/components/schemas/{name}"
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        }
    },
}
_REFUSALS = {
    "400": "What was sent is wrong.",
    "401": "Credentials are missing, or not valid any more.",
    "403": "You may not do this.",
    "404": "There is no such thing, or you may not know of it.",
    "409": "Its state, or somebody else's change, does not allow this.",
    "429": "You try too often; Retry-After says how many seconds to wait.",
    "503": "The database does not answer; try again.",
}


def document(operations: Iterable[Operation], *, title: str, version: str) -> dict[str, Any]:
    """Write the document."""
    listed = list(operations)
    kinds = {kind for one in listed for kind in (one.ask, one.answer)} - {Download}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    paths: dict[str, Any] = {}
    for one in listed:
        paths.setdefault(f"/v1{one.path}", {})[one.method.lower()] = _described(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _described(one: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    asked = schemas[one.ask.__name__].get("properties", {})
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": asked.get(name, {"type": "string", "maxLength": 64}),
        }
        for name in one.names
    ]
    left = {name: schema for name, schema in asked.items() if name not in one.names}
    found: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.subject],
        "summary": one.told.partition("\n")[0],
        "description": one.told,
        "parameters": in_path,
        "responses": {
            "200": {"description": "Done.", "content": _answered(one)},
            **{
                status: {"description": why, "content": _content(_named("Error"))}
                for status, why in _REFUSALS.items()
            },
        },
    }
    if one.is_read:
        found["parameters"] += [
            {"name": name, "in": "query", "schema": schema} for name, schema in left.items()
        ]
        return found
    found["parameters"].append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
    if not one.only_looks:
        key = {"type": "string", "maxLength": 200}
        found["parameters"].append({"name": "Idempotency-Key", "in": "header", "schema": key})
    if left and one.ask is not Nothing:
        required = [name for name in schemas[one.ask.__name__].get("required", []) if name in left]
        body = {**schemas[one.ask.__name__], "properties": left, "required": required}
        found["requestBody"] = {"required": True, "content": _content(body)}
    return found


def _answered(one: Operation) -> dict[str, Any]:
    if one.answer is Download:
        return {"application/octet-stream": {"schema": {}}}
    return _content(_answer(one))


def _answer(one: Operation) -> dict[str, Any]:
    if not one.is_list:
        return _named(one.answer.__name__)
    items = {"type": "array", "items": _named(one.answer.__name__)}
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": items, "next": {"type": "string"}},
    }


def _named(name: str) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(name=name)}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
