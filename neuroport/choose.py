"""Which engine runs a program: needs against capabilities, every gap at once, before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neuroport.engine.base import Engine
from neuroport.errors import Problem, UnknownDevice, UnsupportedModel, listed
from neuroport.model.training import Training
from neuroport.program.lower import Program
from neuroport.program.needs import Need, needs
from neuroport.registry import Registry, announce


@dataclass(frozen=True)
class Wanted:
    """What is asked of an engine. None: the engine's own choice, or no such demand."""

    program: Program
    device: str | None = None
    precision: str | None = None
    training: Training | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Choice:
    """An engine that fits, with its device and precision by name."""

    name: str
    engine: Engine
    device: str
    precision: str


def choose(registry: Registry, wanted: Wanted, engine: str | Engine | None = None) -> Choice:
    """The engine named, or the first of the default order that can run this; the choice is printed.

    Raises UnknownEngine, DuplicateEngine, EngineUnavailable, UnknownDevice, or UnsupportedModel with
    every gap and the other installed engines that can.
    """
    if engine is None:
        for name, found in registry.usable():
            if fits(found, wanted):
                announce(name)
                return _choice(name, found, wanted)
        engine = registry.default_engine()  # none can: the first one's gaps say why
    name, found = (engine.name, engine) if isinstance(engine, Engine) else (engine, registry.engine(engine))
    problems = gaps(found, name, wanted)
    if problems:
        able = [other for other, its in registry.usable() if other != name and fits(its, wanted)]
        raise UnsupportedModel(name, problems, able)
    return _choice(name, found, wanted)


def _choice(name: str, engine: Engine, wanted: Wanted) -> Choice:
    device = wanted.device or engine.devices()[0]
    return Choice(name, engine, device, wanted.precision or engine.capabilities(device).precisions[0])


def gaps(engine: Engine, name: str, wanted: Wanted) -> list[Problem]:
    """Everything that keeps an engine from running this. Raises UnknownDevice."""
    devices = engine.devices()
    together = _several_devices(wanted.device)
    if wanted.device is not None and wanted.device not in devices and not engine.capabilities().gaps(together):
        raise UnknownDevice(
            f'the engine "{name}" has no device {wanted.device!r} here\n  mend: its devices are: {listed(devices)}'
        )
    able = engine.capabilities(wanted.device if wanted.device in devices else None)
    wants = [*together, *needs(wanted.program, wanted.training, wanted.precision)]
    found = able.gaps(wants, wanted.program.model.dt)
    if wanted.batch is not None and able.max_batch is not None and wanted.batch > able.max_batch:
        most = f"at most {able.max_batch}"
        found.append(Problem("batch", f"{wanted.batch} samples at once, impossible ({most}: give smaller batches)"))
    return found


def fits(engine: Engine, wanted: Wanted) -> bool:
    """Whether an engine can run this. An engine that fails to answer cannot."""
    try:
        return not gaps(engine, engine.name, wanted)
    except Exception:  # a stranger's code must not hide the gaps of another engine
        return False


def _several_devices(device: str | None) -> list[Need]:
    """What a device's name asks for: "cuda:0-3" names several of a kind, which share out the samples."""
    if device is None or not re.fullmatch(r"[a-z]+:\d+-\d+", device):
        return []
    return [Need("device", "several_devices", f"several devices at once ({device})")]
