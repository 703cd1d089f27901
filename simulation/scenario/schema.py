"""The published JSON Schema of scenario files."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from simulation.scenario.model import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Writes defaults as they stand in a file: ``60s``, not 60.0."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        json_schema = super().default_schema(schema)
        inner: Any = schema["schema"]
        while inner["type"] == "nullable":
            inner = inner["schema"]
        serialization = inner.get("serialization", {})
        default = schema.get("default")
        if default is not None and "function" in serialization:
            json_schema["default"] = serialization["function"](default)
        elif isinstance(json_schema.get("default"), dict):
            json_schema.pop("default")  # a group's defaults are those of its keys
        return json_schema

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a key made into a title says nothing that the key does not


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file."""
    generated = Scenario.model_json_schema(schema_generator=_Generator)
    generated["required"] = [key for key in generated["required"] if key not in ("name", "duration")]
    return {"$schema": DIALECT, **generated, "title": "retrylab scenario"}
