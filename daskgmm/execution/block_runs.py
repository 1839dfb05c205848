"""Runs of blocks: neighbouring blocks of a Dask array that one task computes and folds.

A scheduler's cost is by the task, and arrays come in thousands of small blocks, each of them
the end of a few tasks. What only the blocks of a run need is computed inside the task that
folds them, in Dask's own order. What others need too stays outside, and so does what workers
hold. Blocks of few rows are joined before they are folded, by their sizes alone, so that no
bit depends on how runs are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self, TypeVar

import dask.array as da
import numpy as np
from dask.array.chunk import getitem
from dask.array.core import getter, getter_inline, getter_nofancy
from dask.core import get, get_deps, toposort
from dask.order import order

from daskgmm.em.rows import Additive, tree_sum
from daskgmm.execution.clients import kinds_of_futures

__all__ = ["BlockRun", "Blocks", "Part", "summed"]

T = TypeVar("T", bound=Additive)

_FAN_IN = 16  # a power of two, so that the tree of trees is the tree
_READERS = (getter, getter_nofancy, getter_inline)
"""What Dask reads a block of an array outside of it with."""
_OUTSIDE = -1
"""Who needs a task that is needed by a task outside of all runs."""


def summed(keys: Sequence[Any], name: str) -> tuple[dict[Any, Any], Any]:
    """Tasks that add up the values of keys as :func:`daskgmm.em.rows.tree_sum`, and the last key.

    Parameters
    ----------
    keys : sequence
        In the order of the rows.
    name : str
        How the keys of the tasks begin.
    """
    # Plain tuples: an object for each task would cost several times the task.
    graph: dict[Any, Any] = {}
    level, depth = list(keys), 0
    while len(level) > 1:
        below = [level[i : i + _FAN_IN] for i in range(0, len(level), _FAN_IN)]
        level = [(f"{name}-{depth}", i) for i in range(len(below))]
        graph.update((key, (tree_sum, terms)) for key, terms in zip(level, below, strict=True))
        depth += 1
    return graph, level[0]


@dataclass(frozen=True)
class Part:
    """Neighbouring blocks whose rows are folded together: one, unless they are small.

    Attributes
    ----------
    first : int
        Index of the first block.
    blocks, weights : list
        Keys of the blocks; and of their weights, or None for each.
    """

    first: int
    blocks: list[Any]
    weights: list[Any]

    @property
    def needs(self) -> list[Any]:
        """Keys of what is folded."""
        return [key for key in (*self.blocks, *self.weights) if key is not None]

    def folded(
        self, values: Mapping[Any, Any], of_part: Callable[[int, list[Any], list[Any]], T]
    ) -> T:
        """``of_part`` of the values of the keys."""
        blocks = [values[key] for key in self.blocks]
        weights = [None if key is None else values[key] for key in self.weights]
        return of_part(self.first, blocks, weights)


@dataclass(frozen=True, eq=False)
class BlockRun:
    """Neighbouring parts, and the tasks that only they need.

    Attributes
    ----------
    nodes : dict
        Parts and tasks by their keys, in the order that lets go of blocks soonest; the last one
        gives the sum. It is Dask's own order, found once for all passes: to find it takes longer
        than to fold small blocks.
    done : list of list
        Keys of the values that nothing needs after each of them.
    needs : list
        Keys of tasks outside, whose values the run is given.
    """

    nodes: dict[Any, Any]
    done: list[list[Any]]
    needs: list[Any]

    @classmethod
    def of(cls, parts: list[Part], graph: dict[Any, Any], needs: list[Any]) -> Self:
        """The run of parts, and of the tasks that they need of it."""
        folds = {("folded", part.first): part for part in parts}
        sums, _ = summed(list(folds), "summed")
        tasks = graph | {key: (len, part.needs) for key, part in folds.items()} | sums
        takes, _ = get_deps(dict.fromkeys(needs) | tasks)
        priorities = order(tasks)
        in_order = sorted(tasks, key=priorities.__getitem__)
        last_use = {other: key for key in in_order for other in takes[key]}
        done: dict[Any, list[Any]] = {key: [] for key in tasks}
        for other in chain(
            needs, tasks
        ):  # keys from here, not from takes: pickle sends one object once
            if other in last_use:
                done[last_use[other]].append(other)
        nodes = tasks | folds
        return cls({key: nodes[key] for key in in_order}, [done[key] for key in in_order], needs)

    def fold(self, given: Sequence[Any], of_part: Callable[[int, list[Any], list[Any]], T]) -> T:
        """Sum of ``of_part(first, blocks, weights)``; blocks are let go once they are folded.

        Parameters
        ----------
        given : sequence
            Values of ``needs``.
        of_part : callable
        """
        values = dict(zip(self.needs, given, strict=True))
        for (key, node), done in zip(self.nodes.items(), self.done, strict=True):
            if isinstance(node, Part):
                values[key] = node.folded(values, of_part)
            else:
                values[key] = _value(key, node, values)
            for other in done:
                del values[other]
        found: T = values.popitem()[1]
        return found


def _value(key: Any, node: Any, values: dict[Any, Any]) -> Any:
    """What a task gives, from the values that it needs."""
    if hasattr(node, "dependencies"):
        return node(values)
    if isinstance(node, np.ndarray):
        return node
    if isinstance(node, tuple) and node[0] is tree_sum:
        return tree_sum([values[other] for other in node[1]])
    # Older Dask has tuples as tasks; get converts and orders them each time.
    (found,) = get({key: node}, [key], dict(values))
    return found


class Blocks:
    """Blocks of a Dask array of rows, and of their weights, to be cut into runs.

    Parameters
    ----------
    array : dask.array.Array
        One chunk across features.
    weights : dask.array.Array of shape (n_rows,), optional
        In the row chunks of the array.
    small : int
        Rows that a part of several blocks may have: to fold so few takes no longer than to begin.
    """

    def __init__(self, array: da.Array, weights: da.Array | None, small: int) -> None:
        self._graph, blocks = _taken_apart(array)
        keys: list[Any] = [None] * len(blocks)
        if weights is not None:
            of_weights, keys = _taken_apart(weights)
            self._graph |= of_weights
        self._parts = [
            Part(first, blocks[first:after], keys[first:after])
            for first, after in _joined(array.chunks[0], small)
        ]
        self._held = _held(self._graph) | _lacking(self._graph)
        self._cut: tuple[int, dict[Any, Any], list[BlockRun]] = (0, {}, [])

    def __len__(self) -> int:
        """Number of parts."""
        return len(self._parts)

    @property
    def are_held(self) -> bool:
        """Whether workers hold some of what blocks need: it should be used where it lies."""
        return bool(self._held)

    def runs(self, n_parts: int) -> tuple[dict[Any, Any], list[BlockRun]]:
        """The tasks outside, and runs of ``n_parts`` parts that need them."""
        if self._cut[0] != n_parts:
            self._cut = (n_parts, *self._runs(n_parts))
        return self._cut[1:]

    def _runs(self, n_parts: int) -> tuple[dict[Any, Any], list[BlockRun]]:
        parts = [self._parts[i : i + n_parts] for i in range(0, len(self._parts), n_parts)]
        graphs: list[dict[Any, Any]] = [{} for _ in parts]
        needs: list[list[Any]] = [[] for _ in parts]
        dependencies, _ = get_deps(self._graph)
        for key in self._held:
            dependencies[key].discard(key)  # a future names itself
        needed_by: dict[Any, set[int]] = {key: set() for key in self._graph}
        for i, of_run in enumerate(parts):
            for key in chain.from_iterable(part.needs for part in of_run):
                needed_by[key].add(i)
        outside: dict[Any, Any] = {}
        for key in reversed(toposort(self._graph, dependencies)):  # what needs a key comes first
            needed = needed_by[key]
            if not needed:
                continue
            if len(needed) == 1 and _OUTSIDE not in needed and key not in self._held:
                graphs[min(needed)][key] = self._graph[key]
            else:
                outside[key] = self._graph[key]
                for i in sorted(needed - {_OUTSIDE}):
                    needs[i].append(key)
                needed = {_OUTSIDE}
            for other in dependencies[key]:
                needed_by[other] |= needed
        return outside, [BlockRun.of(*of_run) for of_run in zip(parts, graphs, needs, strict=True)]


def _joined(sizes: tuple[int, ...], most: int) -> list[tuple[int, int]]:
    """Neighbours that have at most so many rows together, or one: by sizes alone."""
    parts: list[tuple[int, int]] = []
    rows = 0
    for i, size in enumerate(sizes):
        if parts and rows + size <= most:
            parts[-1] = (parts[-1][0], i + 1)
            rows += size
        else:
            parts.append((i, i + 1))
            rows = size
    return parts


def _taken_apart(array: da.Array) -> tuple[dict[Any, Any], list[Any]]:
    """The tasks that an array's blocks need, found once for all passes, and the blocks' keys.

    They are not fused: Dask orders the tasks in a fused one anew each time it runs, which takes two to
    three times as long as running them one by one. Where arrays outside Dask are sliced they are
    fused all the same, since Dask then reads the slices alone.
    """
    rest = (0,) * (array.ndim - 1)
    keys = [(array.name, i, *rest) for i in range(array.numblocks[0])]
    whole = array.__dask_graph__()
    graph = dict(whole.cull(set(keys)))
    if _slices_what_is_read(graph):
        graph = dict(array.__dask_optimize__(whole, keys))
        # Dask leaves out what workers hold; here it is named, because it must not be cut up.
        graph |= {key: whole[key] for key in _held(whole)}
    return graph, keys


def _slices_what_is_read(graph: Mapping[Any, Any]) -> bool:
    """Whether a task takes a slice of what another one reads."""
    reading = {key for key, node in graph.items() if getattr(node, "func", None) in _READERS}
    slicing = (n for n in graph.values() if getattr(n, "func", None) in (*_READERS, getitem))
    return bool(reading) and any(not reading.isdisjoint(node.dependencies) for node in slicing)


def _held(graph: Mapping[Any, Any]) -> set[Any]:
    """Keys of the values that workers hold."""
    futures = kinds_of_futures()
    return {key for key, node in graph.items() if isinstance(node, futures)} if futures else set()


def _lacking(graph: Mapping[Any, Any]) -> set[Any]:
    """Keys of tasks that need what the graph lacks: futures among their arguments.

    The scheduler fills them in, so they must not be hidden in a run.
    """
    return {
        key
        for key, node in graph.items()
        if not set(getattr(node, "dependencies", ())) <= graph.keys()
    }
