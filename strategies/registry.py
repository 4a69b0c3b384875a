"""Finds plugins by name through entry points, those of quadrat included."""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

from quadrat.strategies.base import Strategy
from quadrat.strategies.errors import PluginError, StrategyError
from quadrat.strategies.oracle_strategies import OracleStrategy

__all__ = [
    "PLUGINS",
    "STRATEGIES",
    "InstalledState",
    "Plugin",
    "Registry",
    "available",
    "closest",
    "installed_state",
    "load",
    "registry_of",
    "sees_labels",
]

InstalledState = tuple[tuple[str, int | None], ...]
"""The folders that distributions are found in, each with the time of its last change, ns, or None."""

PLUGINS = {
    "strategies": "strategy",
    "signals": "signal",
    "profiles": "profile",
    "datasets": "data set",
    "regions": "kind of regions",
}
"""What plugins can add, with the noun of one: the entry points ``quadrat.strategies`` and so on."""

_LOOKED_FOR = ("needs", "space", "contents", "_select", "_select_with_truth", "asks")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One entry point, whether or not it can be imported."""

    name: str
    """The registered name."""
    value: str
    """The ``module:attribute`` of the entry point."""
    distribution: str
    """The installed distribution that declares it."""
    version: str
    """The version of that distribution."""
    error: str | None
    """Why it can't be loaded, or None."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The plugins of one entry-point group.

    What is installed is read again when a folder of `sys.path` has changed. A broken plugin does not affect the others:
    it is listed with its error and raises only when it is loaded.
    """

    group: str
    """Entry-point group, for example ``quadrat.strategies``."""
    kind: str
    """Noun for messages, for example ``strategy``."""
    check: Callable[[str, Any], str | None] = lambda name, value: None
    """Called with the name and the loaded value; returns what is wrong with it, or None."""

    def names(self) -> list[str]:
        """Return the registered names in alphabetical order, without importing anything."""
        return sorted(self._by_name())

    def get(self, name: str) -> Any:
        """Return the object registered under ``name``.

        Raises:
            PluginError: The name is unknown (lists the known ones) or offered by two distributions (names both), or the
                plugin can't be imported (chained to its own error).
        """
        found = self._by_name().get(name, [])
        if not found:
            raise PluginError(f"unknown {self.kind} {name!r}{closest(name, self.names())}")
        if len(found) > 1:
            raise PluginError(self._conflict(name, found))
        return self._load(found[0])

    def listing(self) -> list[Plugin]:
        """Return every plugin of the group, sorted by name, each imported to check that it works."""
        plugins = []
        for name, found in sorted(self._by_name().items()):
            for entry_point in found:
                error = self._conflict(name, found) if len(found) > 1 else self._error(entry_point)
                distribution, version = _origin(entry_point)
                plugins.append(
                    Plugin(
                        name=name,
                        value=entry_point.value,
                        distribution=distribution,
                        version=version,
                        error=error,
                    )
                )
        return plugins

    def _by_name(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = defaultdict(list)
        for entry_point in entry_points(group=self.group):
            found[entry_point.name].append(entry_point)
        return dict(found)

    def _load(self, entry_point: EntryPoint) -> Any:
        try:
            value = entry_point.load()
        # Importing runs the plugin's code, which can raise anything: it is chained, never swallowed.
        except Exception as cause:
            raise PluginError(
                f"{self.kind} {entry_point.name!r} ({entry_point.value}) of {' '.join(_origin(entry_point))} can't be "
                f"imported: {type(cause).__name__}: {cause}"
            ) from cause
        problem = self.check(entry_point.name, value)
        if problem is not None:
            raise PluginError(
                f"{self.kind} {entry_point.name!r} ({entry_point.value}) of {' '.join(_origin(entry_point))} {problem}"
            )
        return value

    def _error(self, entry_point: EntryPoint) -> str | None:
        try:
            self._load(entry_point)
        except PluginError as error:
            return str(error)
        return None

    def _conflict(self, name: str, found: list[EntryPoint]) -> str:
        origins = " and ".join(sorted(" ".join(_origin(entry_point)) for entry_point in found))
        return f"{self.kind} {name!r} is offered by {origins}; uninstall one of them or rename its entry point"


def entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group.

    Reading the metadata of some hundred distributions takes a tenth of a second, and a suite asks for dozens of names.
    They are read once for each state of `sys.path`: installing a distribution adds to one of its folders.
    """
    return _entry_points(group, installed_state())


def installed_state() -> InstalledState:
    """Return what changes when a distribution is installed or removed: each folder of `sys.path` with its time, ns."""
    return tuple((path, _changed_ns(path)) for path in sys.path)


@functools.lru_cache(maxsize=8)
def _entry_points(group: str, state: InstalledState) -> EntryPoints:
    return metadata.entry_points(group=group)


def _changed_ns(path: str) -> int | None:
    try:
        return os.stat(path or ".").st_mtime_ns
    except OSError:  # sys.path may name what does not exist
        return None


def closest(name: str, known: list[str]) -> str:
    """Return ``; did you mean ...? known: ...`` for a message about an unknown ``name``."""
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {match[0]!r}?" if match else ";"
    return f"{hint} known: {', '.join(sorted(known)) or 'none'}"


def available() -> dict[str, Plugin]:
    """Return the installed strategies by name; ``error`` says why one can't be loaded."""
    return {plugin.name: plugin for plugin in STRATEGIES.listing()}


def load(name: str, **params: Any) -> Strategy:
    """Return the strategy registered under ``name`` with these parameters.

    >>> load("entropy-spatial", cutoff=2.0).params()["cutoff"]
    2.0

    Raises:
        PluginError: The name is unknown, offered twice, or its plugin is broken.
        StrategyError: A parameter is unknown or out of its range.
    """
    strategy: type[Strategy] = STRATEGIES.get(name)
    known = [item.name for item in fields(strategy)]
    for parameter in params:
        if parameter not in known:
            raise StrategyError(f"{name} has no parameter {parameter!r}{closest(parameter, known)}")
    return strategy(**params)


def sees_labels(name: str) -> bool:
    """Return whether the strategy registered under ``name`` is an oracle strategy; False for an unknown name.

    A results folder may name strategies of plugins that are not installed.
    """
    return name in STRATEGIES.names() and bool(STRATEGIES.get(name).sees_labels)


def _check_strategy(name: str, value: Any) -> str | None:
    if not (isinstance(value, type) and issubclass(value, Strategy)):
        return f"is {value!r}, expected a subclass of quadrat.strategies.Strategy"
    if getattr(value, "name", None) != name:
        if not hasattr(value, "name"):
            return f"has no class attribute `name`; add `name: ClassVar[str] = {name!r}`"
        return f"calls itself {getattr(value, 'name', None)!r}; its class attribute `name` must be {name!r}"
    base = OracleStrategy if issubclass(value, OracleStrategy) else Strategy
    method = "_select_with_truth" if base is OracleStrategy else "_select"
    if getattr(value, method) is getattr(base, method):
        return f"defines no method `{method}`"
    return _misspelt(value, base)


def _misspelt(strategy: type[Strategy], base: type[Strategy]) -> str | None:
    """Return what is wrong with an attribute that nearly has the name of one that is looked for."""
    parameters = {item.name for item in fields(strategy)}
    own = {name for parent in strategy.__mro__ if parent not in base.__mro__ for name in vars(parent)}
    for name in sorted(own - parameters - set(dir(base)) - set(_LOOKED_FOR)):
        if match := difflib.get_close_matches(name, _LOOKED_FOR, n=1, cutoff=0.85):
            return f"defines `{name}`, which nothing reads; did you mean `{match[0]}`?"
    return None


def _origin(entry_point: EntryPoint) -> tuple[str, str]:
    if entry_point.dist is None:
        return ("an unknown distribution", "")
    return (entry_point.dist.name, entry_point.dist.version)


def registry_of(what: str, check: Callable[[str, Any], str | None] = lambda name, value: None) -> Registry:
    """Return the registry of one of ``PLUGINS``; nothing is imported before a name is asked for."""
    return Registry(group=f"quadrat.{what}", kind=PLUGINS[what], check=check)


STRATEGIES = registry_of("strategies", _check_strategy)
"""The strategies that are installed."""
