"""The base of everything a user writes down: frozen, strict, in and out of JSON and YAML.

Pydantic finds the faults; here they become ``Problem``s with a path and a mend.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from neuroport.errors import Invalid, InvalidModel, Problem

_NESTED = "neuroport_problems"


class Description(BaseModel):
    """A frozen description. Unknown fields are errors; every problem is reported at once."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=False, validate_default=True,
        ser_json_inf_nan="constants", allow_inf_nan=False,
    )
    error_class: ClassVar[type[Invalid]] = InvalidModel
    also: ClassVar[tuple[str, ...]] = ()  # names that may stand beside the fields in plain data
    positional: ClassVar[int] = 2  # how many fields may be given by position; more are too easily mistaken

    def __init__(self, *args: Any, **fields: Any):
        """Fields by name; positional arguments fill the class's own fields first, then its bases'."""
        named = [name for base in type(self).__mro__ for name in base.__dict__.get("__annotations__", ())
                 if name in type(self).model_fields]
        named = list(dict.fromkeys(named))
        if len(args) > min(self.positional, len(named)):
            raise self.error_class([self._too_many(args, named)])
        twice = [name for name, _ in zip(named, args, strict=False) if name in fields]
        if twice:
            wrong = "is given twice, by its place and by its name"
            raise self.error_class([Problem(f"{type(self).__name__}.{name}", wrong, "leave one out") for name in twice])
        fields = {**dict(zip(named, args, strict=False)), **fields}
        try:
            super().__init__(**fields)
        except ValidationError as error:
            found = problems_of(error, type(self))
            raise self.error_class(found, type(self).__name__) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # nested ones validate in the core

    def _too_many(self, args: Sequence[Any], named: Sequence[str]) -> Problem:
        first, rest = named[: self.positional], named[self.positional :]
        wrong = f"takes only {' and '.join(first) or 'names'} by position, got {len(args)} values"
        mend = f"name the others: {', '.join(rest)}" if rest else f"its fields: {', '.join(named) or 'none'}"
        meant = self._meant_by(args)
        return Problem(type(self).__name__, wrong, f"{meant}; {mend}" if meant else mend)

    @classmethod
    def _meant_by(cls, args: Sequence[Any]) -> str:
        """What too many values by position may mean, where another library's order is well known."""
        return ""

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise self.error_class(problems_of(error, type(self)), type(self).__name__) from None

    @field_validator("*", mode="before", check_fields=False)
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic would take true for 1, and YAML reads a mere ``yes`` as true."""
        if info.field_name is not None and _asks_for_numbers(cls, info.field_name):
            mend = "give a number; YAML reads yes, no, on and off as true and false"
            found = [Problem(place, f"is no number (got {truth})", mend) for place, truth in _truths(value)]
            if found:
                raise nested(found)
        return value

    @classmethod
    def parse(cls, data: Any) -> Self:
        """From plain data (dicts, lists, numbers), with every problem reported at once."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise cls.error_class(problems_of(error, cls)) from None
        except RecursionError:
            problem = Problem("", "is nested without end", "let no part refer to itself (by a YAML alias, say)")
            raise cls.error_class([problem]) from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From a JSON document."""
        try:
            data = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise cls.error_class([_unreadable("JSON", error)]) from None
        return cls.parse(data)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """From a YAML document."""
        from neuroport.model.yaml_text import NotYaml, parsed  # late, so that `import neuroport` stays fast

        try:
            data = parsed(text)
        except (NotYaml, RecursionError) as error:
            raise cls.error_class([_unreadable("YAML", error)]) from None
        return cls.parse(data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """From a .json or .yaml file."""
        try:
            path = Path(path)
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, TypeError) as error:
            problem = Problem(str(path), f"cannot be read: {error}", "give the path of a text file")
            raise cls.error_class([problem]) from None
        try:
            return cls.from_json(text) if path.suffix == ".json" else cls.from_yaml(text)
        except Invalid as error:
            raise cls.error_class(error.problems, f"{cls.__name__.lower()} {path}") from None

    def to_data(self) -> dict[str, Any]:
        """As plain dicts, lists, strings and numbers."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        return json.dumps(self.to_data(), indent=2)

    def to_yaml(self) -> str:
        from neuroport.model.yaml_text import written

        return written(self.to_data())


@cache
def _asks_for_numbers(described: type[BaseModel], field: str) -> bool:
    """Whether a field takes numbers, alone or in lists, and not also true and false."""
    kinds: set[Any] = set()
    pending: list[Any] = [described.model_fields[field].annotation]
    while pending:
        kind = pending.pop()
        if get_origin(kind) is Literal:
            kinds |= {type(value) for value in get_args(kind)}
        else:
            kinds.add(kind)
            pending.extend(get_args(kind))
    return bool(kinds & {int, float}) and bool not in kinds


def _truths(value: Any, place: str = "") -> Iterator[tuple[str, bool]]:
    """Each true and false in a value, with its place there."""
    if isinstance(value, bool):
        yield place, value
    named = dict(enumerate(value)) if isinstance(value, (list, tuple)) else value
    for key, item in named.items() if isinstance(named, Mapping) else ():
        yield from _truths(item, f"{place}.{key}" if place else str(key))


def _unreadable(kind: str, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    wrong = " ".join(str(getattr(error, "problem", None) or error).split())
    return Problem(place, f"not {kind}: {wrong}", f"mend the {kind} there")


def nested(problems: list[Problem]) -> PydanticCustomError:
    """Problems raised inside a validator, carried through Pydantic to the outermost report."""
    return PydanticCustomError(_NESTED, "{text}", {"text": "; ".join(map(str, problems)), "found": problems})


def problems_of(error: ValidationError, described: type[BaseModel]) -> list[Problem]:
    """Pydantic's findings as problems with paths and mends."""
    found = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"] if not _is_pydantics_own(part))
        if item["type"] == _NESTED:
            found += [problem.under(place) for problem in item["ctx"]["found"]]
        else:
            found.append(Problem(place, *_explain(item, described)))
    return list(dict.fromkeys(found))


def _is_pydantics_own(part: Any) -> bool:
    """Parts of a location that name a branch of a schema, such as ``function-before[...]`` or ``[key]``."""
    return isinstance(part, str) and part.endswith("]") and "[" in part


def _explain(item: Any, described: type[BaseModel]) -> tuple[str, str]:
    kind, given = item["type"], item.get("input")
    if kind == "missing":
        return "is missing", "add it"
    if kind == "extra_forbidden":
        return "is not a field here", _closest(str(item["loc"][-1]), _names_of(_class_at(described, item["loc"][:-1])))
    if kind == "frozen_instance":
        return "descriptions are frozen", "make a changed one: type(x).parse({**x.to_data(), ...})"
    shown = repr(given)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    if kind in _WORDS:
        wrong, mend = _WORDS[kind]
        names = ", ".join(_names_of(_class_at(described, item["loc"]))) or "its fields"
        return f"{wrong} (got {shown})", mend.format(fields=names, **item.get("ctx", {}))
    message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{message[:1].lower() + message[1:]} (got {shown})", "change the value"


# Pydantic's kinds of error in our words: what is wrong, and the mend
_WORDS = {
    **dict.fromkeys(("float_parsing", "float_type"), ("is no number", "give a plain number, such as 0.5 or 1e-3")),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), ("is no whole number", "give a whole number")),
    **dict.fromkeys(("bool_parsing", "bool_type"), ("is neither true nor false", "write true or false")),
    **dict.fromkeys(("tuple_type", "list_type"), ("is no list", "give a list, such as [...]")),
    **dict.fromkeys(("model_type", "dict_type"), ("is no mapping", "give a mapping of {fields}")),
    "string_type": ("is no text", "give a text; in YAML put numbers that are names in quotes"),
    "too_long": ("has too many items", "give at most {max_length}"),
    "too_short": ("has too few items", "give at least {min_length}"),
    "invalid_key": ("is no field: names of fields are texts", "remove it"),
    "greater_than": ("is too small", "give a number greater than {gt:g}"),
    "greater_than_equal": ("is too small", "give {ge:g} or more"),
    "less_than": ("is too large", "give a number less than {lt:g}"),
    "less_than_equal": ("is too large", "give {le:g} or less"),
    "finite_number": ("is not finite", "give a finite number"),
    "literal_error": ("is none of the possible values", "choose {expected}"),
}


def _class_at(described: type[BaseModel], location: tuple[Any, ...]) -> Any:
    """The class of descriptions that stands at a path, as far as the path leads there."""
    current: Any = described
    for part in location:
        kind = getattr(getattr(current, "model_fields", {}).get(part), "annotation", None)
        options = [kind, *get_args(kind)]
        current = next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)
    return current


def _names_of(described: Any) -> list[str]:
    return [*getattr(described, "model_fields", {}), *getattr(described, "also", ())]


# what other libraries call it
SYNONYMS = {"lr": "learning_rate", "beta": "decay", "threshold": "v_threshold", "wd": "weight_decay"}


def _closest(word: str, known: Sequence[str]) -> str:
    close = SYNONYMS[word] if SYNONYMS.get(word) in known else closest(word, known)
    if close:
        return f"did you mean {close!r}?"
    return f"remove it; the fields are: {', '.join(known)}" if known else "remove it"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, capitals aside."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, 1)
    return names[close[0]] if close else None
