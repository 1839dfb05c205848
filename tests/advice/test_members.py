"""Advice of errors in what a group holds: in a folder, in a zip file, in memory, opened before."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import zarr
from following import X, command, found_in, group, zipped
from zarr.storage import MemoryStore

from daskgmm import open_rows
from daskgmm.errors import DaskGMMError

PATH = r"as ([^\s=]+)(?= or member=|$)"
MEMBER = r"member='([\w/]+)'"
OPTION = r"\((--member) ([\w/]+)\)"


def opened(folder: Path) -> zarr.Group:
    return zarr.open_group(group(folder), mode="r")


def in_memory(folder: Path) -> zarr.Group:
    root = zarr.open_group(MemoryStore(), mode="w")
    for name in ("a", "b"):
        root.create_array(name, data=X)
    root.create_group("deeper").create_group("inner").create_array("c", data=X)
    return root


@dataclass(frozen=True)
class Group:
    """Where a group is; members of some have paths of their own."""

    of: Callable[[Path], Any]
    has_paths: bool
    has_commands: bool


GROUPS = {
    "in a folder": Group(group, has_paths=True, has_commands=True),
    "in a zip file": Group(zipped, has_paths=False, has_commands=True),
    "opened from a folder": Group(opened, has_paths=True, has_commands=False),
    "opened in memory": Group(in_memory, has_paths=False, has_commands=False),
}
of_groups = pytest.mark.parametrize("where", GROUPS.values(), ids=GROUPS)


def refusal(data: Any, member: str | None) -> str:
    with pytest.raises(DaskGMMError) as caught:
        open_rows(data, member=member)
    return str(caught.value)


@of_groups
@pytest.mark.parametrize("member", [None, "deeper"])
def test_a_member_of_those_that_are_listed_can_be_opened_as_said(where, member, tmp_path):
    """Of two arrays at the top; of the group in the group, which holds none itself."""
    data = where.of(tmp_path)
    said = refusal(data, member)
    assert open_rows(data, member=found_in(said, MEMBER)[1]).shape == X.shape
    path = re.search(PATH, said)
    assert (path is not None) == where.has_paths, said
    if path is not None:
        assert open_rows(path[1]).shape == X.shape


@pytest.mark.parametrize("where", [w for w in GROUPS.values() if w.has_commands])
@pytest.mark.parametrize("member", [(), ("--member", "deeper")])
def test_the_option_that_is_named_opens_it_too(where, member, tmp_path):
    words = ("check", where.of(tmp_path))
    option = found_in(command(*words, *member), OPTION)
    assert command(*words, option[1], option[2]) == ""


@of_groups
def test_arrays_of_a_group_that_is_a_member_itself(where, tmp_path):
    """A name that leads on from the member would lead nowhere from the data."""
    store = tmp_path / "two.zarr"
    root = zarr.open_group(MemoryStore() if where.of is in_memory else store, mode="w")
    pair = root.create_group("pair")
    for name in ("a", "b"):
        pair.create_array(name, data=X)
    data = _as(where, root, store)
    said = refusal(data, "pair")
    assert open_rows(data, member=found_in(said, MEMBER)[1]).shape == X.shape


def _as(where: Group, root: zarr.Group, store: Path) -> Any:
    if where.of is zipped:
        return shutil.make_archive(str(store), "zip", store)
    return str(store) if where.of is group else root


@of_groups
@pytest.mark.parametrize("member", ["z", "deeper/z"])
def test_a_member_that_is_not_there_is_one_of_those_that_are_listed(where, member, tmp_path):
    data = where.of(tmp_path)
    known = found_in(refusal(data, member), r"members (?:of \S+ )?are: (.*); name one of them")[1]
    names = known.split(", ")
    assert names == ["a", "b", "deeper"]
    assert open_rows(data, member=names[0]).shape == X.shape


@pytest.mark.parametrize("where", [group, zipped])
def test_variables_over_the_same_dimensions_are_chosen_as_said(where, tmp_path):
    """Of a group as xarray writes it: the first array that is listed has other dimensions."""
    cells = xr.DataArray(X.reshape(20, 30, 2), dims=("y", "x", "of"))
    grid = {"area": ("y", X[:20, 0]), "temp": cells[..., 0], "salt": cells[..., 1]}
    store = tmp_path / "grid.zarr"
    xr.Dataset(grid).to_zarr(store, consolidated=False)
    data = str(store) if where is group else shutil.make_archive(str(store), "zip", store)
    said = refusal(data, None)
    assert ast.literal_eval(found_in(said, r"variables=(\[.*?\])")[1]) == ["salt", "temp"]
    option = found_in(command("check", data), r"\((--variables) (\S+)\)")
    assert command("check", data, option[1], option[2]) == ""
