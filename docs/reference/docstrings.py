"""How the reference shows docstrings: an extension of griffe, which reads the sources for mkdocstrings.

``name: what it is`` at the start of a line becomes an item of a list, and descriptions (nodes, losses, ...)
show how they are made, with the defaults of all their fields, inherited ones too.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

from griffe import Class, Docstring, Extension, Object

from neuroport.model.description import Description

NAMES = r"[a-z_][\w.]*(?:, [a-z_][\w.]*)*"
ITEM = re.compile(rf"^({NAMES}): (?=\S)")
NEXT = re.compile(rf"(?<=[.;)]) (?={NAMES}: \S)|(?<=\.) (?=(?:Raises|Returns|Members) )")


def as_markdown(text: str) -> str:
    """Docstrings as they are written, as Markdown: what begins with names and a colon becomes an item of a list."""
    spans = re.split(r"(`+[^`]*`+)", text)  # code, at the odd places, stays as it is
    plain = "".join(span if index % 2 else span.replace("*", r"\*") for index, span in enumerate(spans))
    return "\n\n".join(map(_paragraph, re.split(r"\n[ \t]*\n", plain)))


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    first = next((index for index, line in enumerate(lines) if ITEM.match(line)), None)
    if first is None or any(line.startswith((" ", "\t")) for line in lines[:first]):
        return text  # prose, or code
    prose, rest = lines[:first], " ".join(line.strip() for line in lines[first:])
    items = [ITEM.sub(r"- **\1**: ", part) if ITEM.match(part) else f"\n{part}" for part in NEXT.split(rest)]
    return "\n".join([*prose, *([""] if prose else []), *items])


def call(described: type[Description]) -> str:
    """How a description is made: its fields in order with their defaults; those behind the * by name alone."""
    parameters = inspect.signature(described).parameters
    order = [name for base in described.__mro__ for name in base.__dict__.get("__annotations__", ())]
    fields = []
    for place, name in enumerate(dict.fromkeys(name for name in order if name in described.model_fields)):
        fields += ["*"] if place == described.positional else []
        default = parameters[name].default
        fields.append(name if default is inspect.Parameter.empty else f"{name}={shown(default)}")
    line = f"{described.__name__}({', '.join(fields)})"
    if len(line) > 100:
        line = f"{described.__name__}(\n    " + ",\n    ".join(fields) + ",\n)"
    return f"```python\n{line}\n```\n\n"


def shown(value: Any) -> str:
    """A default as one would write it: of a description, only the fields that differ from its own defaults."""
    if not isinstance(value, Description):
        return repr(value)
    fields = type(value).model_fields
    own = {name: getattr(value, name) for name in fields if getattr(value, name) != fields[name].default}
    return f"{type(value).__name__}({', '.join(f'{name}={shown(field)}' for name, field in own.items())})"


class Readable(Extension):
    """Rewrites every docstring once all is read."""

    def on_object(self, *, obj: Object, **rest: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_class(self, *, cls: Class, **rest: Any) -> None:
        if not cls.module.path.startswith("neuroport.model.") or cls.is_private:
            return
        found = getattr(import_module(cls.module.path), cls.name, None)
        if not (isinstance(found, type) and issubclass(found, Description)) or inspect.isabstract(found):
            return
        if not found.__dict__.get("abstract", False) and found.model_fields:
            text = cls.docstring.value if cls.docstring else ""
            cls.docstring = Docstring(call(found) + text, parent=cls)
