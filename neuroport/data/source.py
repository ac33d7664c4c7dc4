"""Where data comes from: a named source gives splits, packed and ready to stage."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from neuroport.data.plan import Plan, Progress
from neuroport.data.splits import Splits
from neuroport.errors import InvalidExperiment, Problem
from neuroport.model.description import Description, problems_of


@dataclass(frozen=True)
class SourceInfo:
    """What the hook ``neuroport_sources`` returns: enough to list a source without importing it.

    factory: "package.module:function"; called with the source's options it returns ``Splits``, or a ``Plan`` of
    how they are staged, which the cache then keeps. summary: one line for people. member: of a family of sources, what
    stands behind its name ("tonic:NMNIST" is the member NMNIST of "tonic"), in a word for people; the factory's first
    parameter takes it.
    """

    name: str
    factory: str
    summary: str = ""
    member: str = ""

    @property
    def title(self) -> str:
        """As people write it: ``braille``, ``tonic:NAME``."""
        return f"{self.name}:{self.member}" if self.member else self.name


def load(info: SourceInfo, options: Mapping[str, Any], member: str = "", progress: Progress | None = None) -> Splits:
    """The splits of a source. Raises InvalidExperiment for options that it does not know."""
    found = prepared(info, options, member)
    return found.staged(progress) if isinstance(found, Plan) else found


def prepared(info: SourceInfo, options: Mapping[str, Any], member: str = "") -> Splits | Plan:
    """What a source's factory returns: splits, or the plan of how they are staged."""
    module, _, function = info.factory.partition(":")
    factory = getattr(importlib.import_module(module), function)
    known = dict(inspect.signature(factory).parameters)
    given = [member] if info.member else []
    if given:
        known.pop(next(iter(known)))
    problems = [Problem(f"data.options.{name}", f"the source {info.title!r} has no such option",
                        f"its options are: {', '.join(known) or 'none'}")
                for name in options if name not in known]
    problems += [Problem(f"data.options.{name}", "is missing", f"the source {info.title!r} needs it")
                 for name, parameter in known.items() if parameter.default is parameter.empty and name not in options]
    values, wrong = _typed(factory, {name: value for name, value in options.items() if name in known})
    if problems or wrong:
        raise InvalidExperiment([*problems, *wrong])
    found: Splits | Plan = factory(*given, **values)
    return found


def _typed(factory: Callable[..., Any], options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Options as the types that the factory's annotations name, and those that cannot be."""
    try:
        hints = get_type_hints(factory)
        adapters = {name: TypeAdapter(hints.get(name, Any)) for name in options}
    except (NameError, TypeError, PydanticUserError):  # annotations of a stranger that say nothing at run time
        return dict(options), []
    values, problems = {}, []
    for name, value in options.items():
        try:
            values[name] = adapters[name].validate_python(value)
        except ValidationError as error:
            first = problems_of(error, Description)[0]
            problems.append(Problem(f"data.options.{name}", first.wrong, first.mend))
    return values, problems
