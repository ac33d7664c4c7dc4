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

ITEM = re.compile(r"^([\w.]+(?:, [\w.]+)*): (?=\S)")
PROSE = ("Raises", "Returns", "Members")


def as_markdown(text: str) -> str:
    """Lines that start with names and a colon as items; the lines that continue them, indented."""
    lines: list[str] = []
    inside = False  # an item
    for line in text.splitlines():
        if ITEM.match(line) and not line.startswith(PROSE):
            if lines and lines[-1] and not inside:
                lines.append("")
            lines.append(ITEM.sub(r"- **\1**: ", line))
            inside = True
        elif inside and line and not line[0].isspace() and not line.startswith(PROSE):
            lines.append(f"  {line}")
        else:
            if inside and line:
                lines.append("")
            inside = False
            lines.append(line)
    return "\n".join(lines)


def call(described: type[Description]) -> str:
    """How a description is made: its fields in the order of positional arguments, with their defaults."""
    parameters = inspect.signature(described).parameters
    order = [name for base in described.__mro__ for name in base.__dict__.get("__annotations__", ())]
    fields = []
    for name in dict.fromkeys(name for name in order if name in described.model_fields):
        default = parameters[name].default
        fields.append(name if default is inspect.Parameter.empty else f"{name}={default!r}")
    line = f"{described.__name__}({', '.join(fields)})"
    if len(line) > 100:
        line = f"{described.__name__}(\n    " + ",\n    ".join(fields) + ",\n)"
    return f"```python\n{line}\n```\n\n"


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
