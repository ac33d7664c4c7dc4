"""Families of descriptions that are told apart by ``type``: nodes, surrogates, losses, ...

A subclass joins its family by being defined, under its class name; so does a user's own. In JSON and
YAML a member is a mapping with ``type``, or just its name where all its fields have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_serializer, model_validator
from pydantic_core import core_schema

from neuroport.errors import InvalidModel, Problem
from neuroport.model.description import Description, closest, nested, problems_of


class Kind(Description):
    """A member of a family. Direct subclasses open a family; their subclasses are its members."""

    family: ClassVar[dict[str, type[Kind]]]
    abstract: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if Kind in cls.__bases__:
            cls.family = {}
        elif not cls.__dict__.get("abstract", False):
            known = cls.family.get(cls.__name__)
            if known and known.__module__.startswith("neuroport.") and known.__module__ != cls.__module__:
                wrong = f"{cls.__name__!r} is the name of a class of neuroport's own"
                raise InvalidModel([Problem(cls.__name__, wrong, "give your class another name")])
            cls.family[cls.__name__] = cls

    @model_validator(mode="before")
    @classmethod
    def _type_is_mine(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "type" in data:
            if data["type"] != cls.__name__:
                wrong = f"is {data['type']!r}, here stands a {cls.__name__}"
                raise nested([Problem("type", wrong, f"write type: {cls.__name__}")])
            return {key: value for key, value in data.items() if key != "type"}
        return data

    @model_serializer(mode="wrap")
    def _with_type(self, handler: Any) -> dict[str, Any]:
        return {"type": type(self).__name__, **handler(self)}


class Member:
    """Annotation: any member of a family, as an object, a mapping with ``type``, or a name."""

    def __init__(self, family: type[Kind]):
        self.base = family

    def validate(self, value: Any) -> Kind:
        known = self.base.family
        if isinstance(value, self.base):
            if type(value).__dict__.get("abstract", False):
                wrong = f"{type(value).__name__} is a base class"
                raise nested([Problem("", wrong, f"use one of: {', '.join(known)}, or a subclass of your own")])
            return value
        if isinstance(value, type) and issubclass(value, self.base):
            called = value.__name__
            raise nested([Problem("", f"is the class {called} itself", f"give an instance: {called}(...)")])
        given = value.get("type") if isinstance(value, Mapping) else value if isinstance(value, str) else None
        if given is None:
            wrong = f"is no {self.base.__name__} (got {value!r:.60})"
            raise nested([Problem("", wrong, f"write {{type: NAME, ...}} with one of: {', '.join(known)}")])
        name = str(given)
        if name not in known:
            close = closest(name, known)
            mend = f"did you mean {close!r}? " if close else ""
            mend += f"Known: {', '.join(known)}; import your own class first (from a shell: --import FILE)"
            raise nested([Problem("type", f"there is no {self.base.__name__} of type {name!r}", mend)])
        try:
            return known[name].model_validate({} if isinstance(value, str) else value)
        except ValidationError as error:
            raise nested(problems_of(error, known[name])) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda kind: kind.model_dump(mode="json")),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {_FAMILY: self.base.__name__}


_FAMILY = "x-family"


def json_schema(described: type[Description]) -> dict[str, Any]:
    """A JSON Schema of a description; each family in it is a definition that lists its members."""
    families = {family.__name__: family for family in Kind.__subclasses__()}
    definitions: dict[str, Any] = {}

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(item) for item in part]
        if not isinstance(part, dict):
            return part
        definitions.update({} if "$defs" not in part else resolve(part.pop("$defs")))
        if _FAMILY in part:
            name = part[_FAMILY]
            if name not in definitions:
                definitions[name] = {}  # known from here on: families refer to each other
                definitions[name] = {"oneOf": [resolve(_tagged(member)) for member in families[name].family.values()]}
            rest = {key: resolve(value) for key, value in part.items() if key != _FAMILY}
            return {**rest, "$ref": f"#/$defs/{name}"}
        return {key: resolve(value) for key, value in part.items()}

    schema = resolve(described.model_json_schema(mode="validation"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": definitions}


def _tagged(member: type[Kind]) -> dict[str, Any]:
    its = member.model_json_schema(mode="validation")
    its["properties"] = {"type": {"const": member.__name__}, **its.get("properties", {})}
    return {**its, "required": ["type", *its.get("required", [])]}
