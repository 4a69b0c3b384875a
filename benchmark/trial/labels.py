"""Which regions are labelled: the only mutable state of a trial."""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["LabelState"]


class LabelState:
    """The set of labelled regions of one trial, grown round by round.

    Args:
        num_regions: R, the number of regions of the pool.
    """

    def __init__(self, num_regions: int) -> None:
        self._labelled = np.zeros(num_regions, dtype=bool)

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Read-only copy, bool (R,): a caller that keeps it does not see later rounds."""
        labelled = self._labelled.copy()
        labelled.flags.writeable = False
        return labelled

    @property
    def regions(self) -> npt.NDArray[np.int64]:
        """Ids of the labelled regions, ascending, int64 (L,)."""
        return np.flatnonzero(self._labelled).astype(np.int64)

    @property
    def digest(self) -> str:
        """Hash of the set, whatever the order in which it was labelled."""
        return hashlib.sha256(np.packbits(self._labelled).tobytes()).hexdigest()

    def add(self, regions: npt.NDArray[np.int64]) -> None:
        """Mark `regions`, int64 (B,), as labelled.

        Raises:
            ValueError: When a region does not exist, is named twice, or was labelled before; nothing is changed then.
        """
        if regions.size and (regions.min() < 0 or regions.max() >= self._labelled.size):
            raise ValueError(f"expected regions in 0..{self._labelled.size - 1}, got {regions.min()}..{regions.max()}")
        if np.unique(regions).size != regions.size:
            raise ValueError("expected every region once, got a region twice in one selection")
        again = regions[self._labelled[regions]]
        if again.size:
            raise ValueError(f"expected regions that are not labelled yet, got {again.size} that are, first {again[0]}")
        self._labelled[regions] = True
