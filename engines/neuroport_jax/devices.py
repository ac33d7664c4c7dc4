"""Where arrays lie: on one device, or on several of one kind that share out samples.

Several devices hold a part of the data set each, and every one computes on its own part of each batch; a batch is
gathered from all parts. What the objective reads is brought together, so that it sees whole batches, and gradients are
added up. Parameters lie whole on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from neuroport_jax.ways import Ways, in_bfloat16, ways_on

Array = jax.Array
NAMES = {"gpu": "cuda"}
SAMPLES = "samples"  # the mesh's only axis


@dataclass(frozen=True)
class Place:
    """One device, or several that share out samples."""

    name: str
    devices: tuple[Any, ...]
    precision: str = "float32"

    @property
    def several(self) -> bool:
        return len(self.devices) > 1

    @cached_property
    def ways(self) -> Ways:
        """How segments run here: see ``ways.py``."""
        ways = ways_on(self.devices)
        return in_bfloat16(ways) if self.precision == "bfloat16" else ways

    @cached_property
    def mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (SAMPLES,))

    def _sharding(self, *axes: str | None) -> Any:
        return NamedSharding(self.mesh, PartitionSpec(*axes)) if self.several else self.devices[0]

    def put(self, value: Any, dtype: Any = jnp.float32) -> Array:
        """An array, whole on every device."""
        return jax.device_put(jnp.asarray(value, dtype), self._sharding())

    def tree(self, arrays: Any) -> Any:
        """A tree of arrays, whole on every device."""
        return jax.device_put(arrays, self._sharding())

    def share_out(self, array: np.ndarray) -> Array:
        """A data set (N, ...): a part of its samples on each device. Returns before it has arrived there.

        Filled up with zeros to parts of one length. Of an array that is mapped from a file each part is read alone.
        """
        if not self.several:
            return jax.device_put(np.asarray(array), self._sharding(), may_alias=False)
        count = -(-len(array) // len(self.devices)) * len(self.devices)

        def part(index: tuple[slice, ...]) -> np.ndarray:
            rows = np.asarray(array[index])
            length = len(range(*index[0].indices(count)))
            return np.concatenate([rows, np.zeros((length - len(rows), *rows.shape[1:]), rows.dtype)])

        return jax.make_array_from_callback((count, *array.shape[1:]), self._sharding(SAMPLES), part)

    def free_memory(self) -> int | None:
        """Bytes free for what is shared out; None where the devices do not say."""
        found = [device.memory_stats() for device in self.devices]
        if any(not stats or "bytes_limit" not in stats for stats in found):
            return None
        return len(found) * min(stats["bytes_limit"] - stats["bytes_in_use"] for stats in found)

    def padded(self, batches: np.ndarray, fill: float | None = None) -> np.ndarray:
        """Batches (batches, B) with B a multiple of the devices. fill: None: the first sample of each."""
        batches = np.asarray(batches)
        more = -batches.shape[1] % len(self.devices)
        column = batches[:, :1] if fill is None else np.full_like(batches[:, :1], fill)
        return np.concatenate([batches, *(column,) * more], 1)

    def apart(self, work: Callable[..., Any], *shared_out: bool) -> Callable[..., Any]:
        """``work`` done by each device. shared_out: which arguments each has its own part of; results are whole."""
        if not self.several:
            return work
        own = tuple(PartitionSpec(SAMPLES) if part else PartitionSpec() for part in shared_out)
        return jax.shard_map(work, mesh=self.mesh, in_specs=own, out_specs=PartitionSpec(), check_vma=False)

    # --- within what is done apart: on one device, each of these gives what it is given --------------

    def rows(self, part: Array, samples: Array) -> Array:
        """Some samples (B,) of what was shared out, (B, ...), from wherever they lie."""
        if not self.several:
            return part[samples]
        return lax.psum(self._found(part, samples), SAMPLES)

    def own_rows(self, part: Array, samples: Array) -> Array:
        """This device's share of ``rows``."""
        if not self.several:
            return part[samples]
        return lax.psum_scatter(self._found(part, samples), SAMPLES, tiled=True)

    def _found(self, part: Array, samples: Array) -> Array:
        """Those samples that lie here, and zeros for all others, so that the sum over devices has all of them."""
        place = samples - lax.axis_index(SAMPLES) * len(part)
        here = (place >= 0) & (place < len(part))
        found = part[jnp.where(here, place, 0)]
        return jnp.where(here.reshape(-1, *(1,) * (part.ndim - 1)), found, jnp.zeros_like(found))

    def own(self, arrays: Any, axis: int = 0) -> Any:
        """This device's share of whole arrays, samples along an axis."""
        if not self.several:
            return arrays

        def share(whole: Array) -> Array:
            size = whole.shape[axis] // len(self.devices)
            return lax.dynamic_slice_in_dim(whole, lax.axis_index(SAMPLES) * size, size, axis)

        return jax.tree.map(share, arrays)

    def together(self, arrays: Any, axis: int) -> Any:
        """Whole arrays of every device's share."""
        if not self.several:
            return arrays
        return jax.tree.map(lambda own: lax.all_gather(own, SAMPLES, axis=axis, tiled=True), arrays)

    def total(self, arrays: Any) -> Any:
        """Arrays added up over the devices."""
        return lax.psum(arrays, SAMPLES) if self.several else arrays


def places() -> Mapping[str, Place]:
    """By name, the platform's default first: "cpu", "cuda:0", "tpu:1"; several of a kind together: "cuda:0-3"."""
    found: dict[str, Place] = {}
    for kind in dict.fromkeys([jax.default_backend(), "cpu"]):
        devices = jax.local_devices(backend=kind)
        platform = NAMES.get(devices[0].platform, devices[0].platform)
        names = ["cpu" if (platform, at) == ("cpu", 0) else f"{platform}:{device.id}" for at, device in
                 enumerate(devices)]
        found |= {name: Place(name, (device,)) for name, device in zip(names, devices, strict=True)}
        if len(devices) > 1:
            name = f"{platform}:{devices[0].id}-{devices[-1].id}"
            found[name] = Place(name, tuple(devices))
    return found
