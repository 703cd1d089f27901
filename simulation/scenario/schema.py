"""The published JSON Schema of scenario files."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from actors.settings.base import Settings
from simulation.scenario.model import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Writes defaults as they stand in a file, ``60s`` and not 60.0; and the description of a key below it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json_schema = super().model_schema(schema)
        model: type[Settings] = schema["cls"]
        texts = _texts_of_keys(model)
        for name, field in model.model_fields.items():
            described = json_schema.get("properties", {}).get(field.alias or name)
            if described is not None and name in texts:
                described["description"] = texts[name]
        return json_schema

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


@cache
def _texts_of_keys(model: type) -> dict[str, str]:
    """Return the description of each field of a model and its bases, by the field's name."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__[: model.__mro__.index(Settings)]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, below in zip(definition.body, definition.body[1:], strict=False):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = inspect.cleandoc(text)
    return texts


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file."""
    generated = Scenario.model_json_schema(schema_generator=_Generator)
    generated["required"] = [key for key in generated["required"] if key not in ("name", "duration")]
    return {"$schema": DIALECT, **generated, "title": "retrylab scenario"}
