"""Exceptions for errors that a user of quadrat can cause."""

__all__ = ["PluginError", "QuadratError", "StrategyError"]


class QuadratError(ValueError):
    """Base class of user errors: the message says what was expected, what was given and how to fix it."""


class StrategyError(QuadratError):
    """A parameter, pool or signal that a strategy can't use, or an invalid selection."""


class PluginError(QuadratError):
    """A plugin that is unknown, broken or offered by two distributions."""
