"""The groups of an HDF5 file, walked so that none leads astray: no links, no cycles, no more than the limits allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
from h5py import h5, h5a, h5d, h5g, h5l, h5o, h5p

from neuroport.errors import InvalidData
from neuroport.nir.codec.arrays import mark, read_value
from neuroport.nir.codec.budget import DAMAGED, Budget, damaged, decoded, refused, trusted
from neuroport.nir.codec.heaps import check_heaps
from neuroport.nir.codec.limits import Limits
from neuroport.nir.codec.marks import KIND, NAME
from neuroport.nir.contents import Value

EXPORT = "export the graph again with a current nir or with neuroport"


class Member(NamedTuple):
    """A thing in a group: its true name, its name and path in the file, and itself."""

    name: str
    written: str
    path: str
    thing: Any


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[tuple[Member, Groups]]:
    """The root of a file, to be walked. Raises InvalidData, whose subject is the file, for what is wrong within too."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise refused(str(path), "is no file but a device or a pipe", "give the path of a file")
        with h5py.File(path, "r") as file:
            try:
                address_size, length_size = file.id.get_create_plist().get_sizes()
                check_heaps(path, length_size)
                root = h5g.open(file.id, b"/")
            except DAMAGED as error:
                raise damaged("/", error) from None
            yield Member("", "", "", root), Groups(Budget(limits, path, address_size))
    except InvalidData as error:
        raise InvalidData(error.problems, f"NIR file {path}") from None
    except FileNotFoundError:
        raise refused(str(path), "is not there", "give the path of a file") from None
    except IsADirectoryError:
        raise refused(str(path), "is a folder", "give the path of a file") from None
    except PermissionError:
        raise refused(str(path), "may not be read by you", "change its permissions") from None
    except OSError as error:
        words = " ".join(str(error).split())
        mend = "give a whole file that nir or neuroport wrote; NIR files are HDF5"
        raise refused(str(path), f"is no HDF5 file, or a damaged one: {words:.200}", mend) from None


class Groups:
    """Reads groups within a budget. strange: the path of the first thing that has attributes of others."""

    def __init__(self, budget: Budget):
        self.budget = budget
        self.visited: set[int] = set()
        self.strange = ""

    def value(self, member: Member, depth: int) -> Value:
        if isinstance(member.thing, h5d.DatasetID):
            return read_value(member.thing, member.path, self.budget)
        if isinstance(member.thing, h5g.GroupID):
            inside = self.members(member.thing, member.path, depth + 1)
            return {one.name: self.value(one, depth + 1) for one in inside}
        raise refused(member.path, "is neither an array nor a group", EXPORT)

    def members(self, group: Any, path: str, depth: int) -> list[Member]:
        """What a group holds: in the order of creation where the file keeps it, else in HDF5's own."""
        if depth > self.budget.limits.depth:
            wrong = f"lies more than {self.budget.limits.depth} groups deep"
            raise refused(path, wrong, trusted("depth", depth))
        try:
            self._visit(group, path)
            self.budget.spend_items(group.get_num_objs(), path or "/")
            order = group.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_TRACKED
            links: list[tuple[bytes, int]] = []
            group.links.iterate(lambda name, link: links.append((name, link.type)), info=True,
                                idx_type=h5.INDEX_CRT_ORDER if order else h5.INDEX_NAME)
        except DAMAGED as error:
            raise damaged(path or "/", error) from None
        found: dict[str, Member] = {}
        for name, kind in links:
            member = self._member(group, name, kind, path)
            if member.name in found:
                raise refused(member.path, f"is named {member.name!r}, as {found[member.name].path} is", EXPORT)
            found[member.name] = member
        return list(found.values())

    def _member(self, group: Any, name: bytes, kind: int, path: str) -> Member:
        written = decoded(name, f"{path}/{name!r}")
        where = f"{path}/{written}"
        if kind != h5l.TYPE_HARD:
            what = {h5l.TYPE_SOFT: "a link within the file", h5l.TYPE_EXTERNAL: "a link to another file"}
            raise refused(where, f"is {what.get(kind, 'a link of an unknown kind')}, no value of its own",
                          "write the value itself: h5repack, or " + EXPORT)
        try:
            thing = h5o.open(group, name)
            if count := h5a.get_num_attrs(thing):
                ours = sum(h5a.exists(thing, one.encode()) for one in (NAME, KIND))
                self.strange = self.strange or (where if count > ours else "")
        except DAMAGED as error:
            raise damaged(where, error) from None
        true = mark(thing, NAME, where, self.budget)
        return Member(written if true is None else true, written, where, thing)

    def _visit(self, group: Any, path: str) -> None:
        """No group is reached twice: such links make cycles, or a small file endlessly wide."""
        address = h5o.get_info(group).addr
        if address in self.visited:
            raise refused(path, "is a group that is reached by another path as well", EXPORT)
        self.visited.add(address)
