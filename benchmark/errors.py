"""The errors a user can meet in the benchmark, by the part that raises them."""

from quadrat.strategies.errors import QuadratError

__all__ = [
    "DataError",
    "QuadratError",
    "ResultsError",
    "StopRequested",
    "SuiteError",
    "TrainingError",
    "TransientError",
    "UnavailableError",
    "described",
]


class DataError(QuadratError):
    """A data set is missing, incomplete or contradicts itself.

    Attributes:
        kind: What errors of one kind have in common, a few words: `quadrat data check` shows them together.
    """

    def __init__(self, message: str, *, kind: str = "other errors") -> None:
        super().__init__(message)
        self.kind = kind


class SuiteError(QuadratError):
    """A suite file holds a key or a value that quadrat does not take."""


class TrainingError(QuadratError):
    """Training cannot go on, for example because the loss is no longer finite."""


class ResultsError(QuadratError):
    """A results folder cannot be used: it belongs to another suite, is in use, or cannot be written."""


class StopRequested(KeyboardInterrupt):
    """Raised by a callback of progress when a trial is to end in order: a fit writes a checkpoint and passes it on.

    Not an error of a trial. A plain `KeyboardInterrupt` ends it at once.
    """


class TransientError(QuadratError):
    """What the same command may not meet again, although nothing was mended: exit code 1 rather than 2."""


class UnavailableError(ResultsError, TransientError):
    """Results that cannot be used now: another run holds them, or their storage cannot be reached."""


def described(error: BaseException) -> str:
    """Return class and message of an error; also of one whose message can't be made, such as a plugin's."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # of any kind: it is the error's own code
        return f"{type(error).__name__}: (its message can't be made: `__str__` raises)"
