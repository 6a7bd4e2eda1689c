"""The protocol as JSON Schema (draft 2020-12), made from the models."""

from __future__ import annotations

import json
from typing import Any

from .errors import CLOSE_CODES, ERROR_CODES
from .frames import client_message_adapter, relay_message_adapter

__all__ = ["protocol_schema", "protocol_schema_text"]


def protocol_schema() -> dict[str, Any]:
    """`$defs` holds every message; `clientMessage` and `relayMessage` are what either side may send.

    `errorCodes` and `closeCodes` are annotations: what the codes of `error` and of the WebSocket's end mean.
    """
    client = client_message_adapter().json_schema(by_alias=True, ref_template="#/$defs/{model}")
    relay = relay_message_adapter().json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions = {**client.pop("$defs"), **relay.pop("$defs")}
    for definition in definitions.values():
        if "const" in definition["properties"].get("type", {}):
            # The models fill it in; on the wire it is what tells messages apart.
            definition["required"] = ["type", *definition.get("required", [])]
    definitions["clientMessage"] = client
    definitions["relayMessage"] = relay
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Signalling over WebSocket, one JSON object a text frame",
        "anyOf": [{"$ref": "#/$defs/clientMessage"}, {"$ref": "#/$defs/relayMessage"}],
        "$defs": dict(sorted(definitions.items())),
        "errorCodes": ERROR_CODES,
        "closeCodes": {str(code): text for code, text in sorted(CLOSE_CODES.items())},
    }


def protocol_schema_text() -> str:
    """The schema as `protocol.schema.json` has it."""
    return json.dumps(protocol_schema(), indent=2, ensure_ascii=False) + "\n"
