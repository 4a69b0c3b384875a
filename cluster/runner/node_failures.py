"""Which work has raised on which nodes: where it is tried next, and which nodes get no more. It knows no Ray."""

from collections import defaultdict
from collections.abc import Hashable, Set
from typing import Final

__all__ = ["MAX_NODES", "MAX_NODE_FAILURES", "NodeFailures"]

MAX_NODES: Final = 3
"""Nodes on which work is tried whose error may be the node's, provided that one of them is known to work."""

MAX_NODE_FAILURES: Final = 3
"""Trials (of a study: candidates) in a row that may raise on a node, with no new round in between, before it gets no
more of them."""


class NodeFailures:
    """Errors that may be a node's, by node and by the work that raised: a trial, or a candidate of a study."""

    def __init__(self) -> None:
        self._failed_on: defaultdict[Hashable, set[str]] = defaultdict(set)
        self._in_a_row: defaultdict[str, set[Hashable]] = defaultdict(set)
        self._good_nodes: set[str] = set()

    def on_new_round(self, node: str) -> None:
        """Note that a new round was finished on a node: it works."""
        self._in_a_row[node].clear()
        self._good_nodes.add(node)

    def on_raised(self, work: Hashable, node: str, nodes: Set[str]) -> bool:
        """Note an error that may be the node's, and return whether another node is to tell whose it is.

        Args:
            work: What raised.
            node: Where.
            nodes: Nodes that are in use. It is tried on all of them, or on `MAX_NODES` when one of those has finished a
                round in this run.
        """
        failed_on = self._failed_on[work]
        failed_on.add(node)
        self._in_a_row[node].add(work)
        is_its_own = len(failed_on) >= MAX_NODES and bool(failed_on & self._good_nodes)
        return bool(nodes - failed_on) and not is_its_own

    def on_failed(self, work: Hashable) -> None:
        """Note that work has failed for good; if it raised on several nodes, then it was not the nodes' error."""
        if len(failed_on := self._failed_on.get(work, set())) > 1:
            for node in failed_on:
                self._in_a_row[node].discard(work)

    def failed_on(self, work: Hashable) -> frozenset[str]:
        """Return the nodes on which `work` has raised."""
        return frozenset(self._failed_on.get(work, ()))

    def bad_nodes(self) -> set[str]:
        """Return the nodes on which `MAX_NODE_FAILURES` have raised in a row, less what failed elsewhere too."""
        return {node for node, work in self._in_a_row.items() if len(work) >= MAX_NODE_FAILURES}
