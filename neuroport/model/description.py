"""The base of everything a user writes down: frozen, strict, in and out of JSON and YAML.

Pydantic finds the faults; here they become ``Problem``s with a path and a mend.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from neuroport.errors import Invalid, InvalidModel, Problem

_NESTED = "neuroport_problems"


class Description(BaseModel):
    """A frozen description. Unknown fields are errors; every problem is reported at once."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=False, validate_default=True,
        ser_json_inf_nan="constants",
    )
    error_class: ClassVar[type[Invalid]] = InvalidModel

    def __init__(self, *args: Any, **fields: Any):
        """Fields by name; positional arguments fill the class's own fields first, then its bases'."""
        named = [name for base in type(self).__mro__ for name in base.__dict__.get("__annotations__", ())
                 if name in type(self).model_fields]
        named = list(dict.fromkeys(named))
        if len(args) > len(named):
            wrong = f"takes {len(named)} fields at most, got {len(args)} positional arguments"
            raise self.error_class([Problem(type(self).__name__, wrong, f"fields: {', '.join(named)}")])
        fields = {**dict(zip(named, args, strict=False)), **fields}
        try:
            super().__init__(**fields)
        except ValidationError as error:
            found = problems_of(error, type(self))
            raise self.error_class(found, type(self).__name__) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # nested ones validate in the core

    @classmethod
    def parse(cls, data: Any) -> Self:
        """From plain data (dicts, lists, numbers), with every problem reported at once."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise cls.error_class(problems_of(error, cls)) from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From a JSON document."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise cls.error_class([_unreadable("JSON", error)]) from None
        return cls.parse(data)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """From a YAML document."""
        try:
            data = yaml.load(text, _Loader)
        except yaml.YAMLError as error:
            raise cls.error_class([_unreadable("YAML", error)]) from None
        return cls.parse(data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """From a .json or .yaml file."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = Problem(str(path), f"cannot be read: {error}", "give the path of a text file")
            raise cls.error_class([problem]) from None
        return cls.from_json(text) if path.suffix == ".json" else cls.from_yaml(text)

    def to_data(self) -> dict[str, Any]:
        """As plain dicts, lists, strings and numbers."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        return json.dumps(self.to_data(), indent=2)

    def to_yaml(self) -> str:
        return yaml.dump(self.to_data(), Dumper=_Dumper, sort_keys=False, width=100)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number (YAML 1.1 wants 1.0e-3) and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Short lists of numbers on one line."""


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, (dict, list)) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)


_Dumper.add_representer(list, _represent_list)
_FLOAT = yaml.resolver.re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _unreadable(kind: str, error: Exception) -> Problem:
    return Problem("", f"not {kind}: {error}", f"mend the {kind} at the place named")


def nested(problems: list[Problem]) -> PydanticCustomError:
    """Problems raised inside a validator, carried through Pydantic to the outermost report."""
    return PydanticCustomError(_NESTED, "{text}", {"text": "; ".join(map(str, problems)), "found": problems})


def problems_of(error: ValidationError, described: type[BaseModel]) -> list[Problem]:
    """Pydantic's findings as problems with paths and mends."""
    found = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == _NESTED:
            found += [problem.under(place) for problem in item["ctx"]["found"]]
        else:
            found.append(Problem(place, *_explain(item, described)))
    return list(dict.fromkeys(found))


def _explain(item: Any, described: type[BaseModel]) -> tuple[str, str]:
    kind, given = item["type"], item.get("input")
    if kind == "missing":
        return "is missing", "add it"
    if kind == "extra_forbidden":
        return "is not a field here", _closest(str(item["loc"][-1]), _fields_at(described, item["loc"]))
    if kind == "frozen_instance":
        return "descriptions are frozen", "make a changed copy with .model_copy(update={...})"
    shown = repr(given)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message[:1].lower() + message[1:]
    if isinstance(given, Mapping) and kind != "value_error":
        return message, "see the fields in the documentation of this section"
    return f"{message} (got {shown})", _MENDS.get(kind, "give a value of that kind")


_MENDS = {
    "greater_than": "give a larger value",
    "greater_than_equal": "give a larger value",
    "less_than": "give a smaller value",
    "less_than_equal": "give a smaller value",
    "literal_error": "choose one of those",
    "finite_number": "give a finite number",
    "float_type": "give a number",
    "value_error": "change the value",
}


def _fields_at(described: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Fields of the class in which an unknown field was found, as far as the path leads there."""
    current: Any = described
    for part in location[:-1]:
        field = getattr(current, "model_fields", {}).get(part)
        kind = getattr(field, "annotation", None)
        current = kind if isinstance(kind, type) else None
    return list(getattr(current, "model_fields", {}))


def _closest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"remove it; the fields are: {', '.join(known)}" if known else "remove it"
