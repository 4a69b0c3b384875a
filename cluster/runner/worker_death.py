"""Why a worker died, in one sentence with the way on, from what Ray says of it.

Ray's own texts have up to fifty lines and advice on Ray's settings. What they mean here is one of a few causes.
"""

import re
from typing import Final

from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayError

from quadrat.benchmark.redaction import first_line

__all__ = ["explain_death"]

_SMALLER: Final = (
    "run fewer trials at a time (resources.max_in_flight), take a smaller learner.batch_size or learner.crop, or a "
    "node with more memory"
)
_LOW_ON_MEMORY: Final = "running low on memory"
"""In Ray's message when its memory monitor has killed a worker."""
_USAGE: Final = re.compile(r"was ([\d.]+) ?GB used / ([\d.]+) ?GB limit|was ([\d.]+)GB / ([\d.]+)GB")
"""Memory of the node, in the same message; its wording differs between versions."""
_KERNEL: Final = "OOM killer"
"""In Ray's message when a process ended without one of its own: the kernel's is one of the causes that it lists."""


def explain_death(error: RayError) -> str | None:
    """Return why a worker died and what helps, in one sentence; None for a cause that is none of those known.

    Args:
        error: What `ray.get` raised for a task of the worker.
    """
    text = str(error)
    if isinstance(error, OutOfMemoryError) or _LOW_ON_MEMORY in text:
        found = _USAGE.search(text)
        used = "" if found is None else " ({} of {} GB used)".format(*(part for part in found.groups() if part))
        return f"Ray killed it because its node ran low on memory{used}: {_SMALLER}"
    if isinstance(error, NodeDiedError):
        return f"its node is gone ({first_line(error)}): see that it runs, then run the same command again"
    if isinstance(error, ActorDiedError) and _KERNEL in text:
        return (
            "it was killed from outside, most often by the kernel because memory ran out (`dmesg` on the node tells), "
            f"else by `ray stop --force` or a crash in native code; if it was memory, {_SMALLER}"
        )
    return None
