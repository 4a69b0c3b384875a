"""Values of every region, collected batch by batch in memory or streamed into an .npy file."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from quadrat.benchmark.data import Layout
from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.storage.atomic import clear_disk_errors

__all__ = ["RegionRows"]


class RegionRows:
    """float32 values of regions 0, 1, ..., appended in that order; `(R,)` or `(R, K)`.

    Streaming to a file keeps one batch in memory: the features of thousands of images do not fit. The file is written,
    not memory-mapped, so that a full disk raises an error instead of a bus error.
    """

    def __init__(self, name: str, layout: Layout, path: Path | None = None) -> None:
        """Start empty.

        Args:
            name: Name of the values in messages.
            layout: The regions.
            path: The .npy file to stream to; None collects in memory.
        """
        self._name = name
        self._layout = layout
        self._path = path
        self._file: BinaryIO | None = None
        self._array: NDArray[np.float32] | None = None
        self._done = 0
        self._num_wrong = 0
        self._first_wrong = 0

    def append(self, rows: NDArray[np.float32]) -> None:
        """Append the values of the next regions, (n,) or (n, K).

        Raises:
            ResultsError: The disk is full or not writable.
        """
        is_finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
        if not is_finite.all():
            if not self._num_wrong:
                self._first_wrong = self._done + int(np.flatnonzero(~is_finite)[0])
            self._num_wrong += int((~is_finite).sum())
        shape = (self._layout.num_regions, *rows.shape[1:])
        if self._path is None:
            if self._array is None:
                self._array = np.empty(shape, dtype=np.float32)
            self._array[self._done : self._done + len(rows)] = rows
        else:
            with clear_disk_errors(self._path):
                if self._file is None:
                    self._file = self._path.open("wb")
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(self._file, header)
                self._file.write(np.ascontiguousarray(rows, dtype="<f4").data)
        self._done += len(rows)

    def finish(self) -> NDArray[np.float32]:
        """Return the values of all regions: an array, or the file as a read-only memory map.

        Raises:
            TrainingError: A value is not finite.
            ResultsError: The disk is full or not writable.
        """
        if self._path is not None and self._file is not None:
            with clear_disk_errors(self._path):
                self._file.close()
        if self._num_wrong:
            region = self._first_wrong
            raise TrainingError(
                f"{self._name} is not finite in region {region} (image {int(self._layout.image[region])}) and "
                f"{self._num_wrong - 1} more: expected finite network output; lower the learning rate"
            )
        assert self._done == self._layout.num_regions, "regions are missing"
        if self._path is None:
            assert self._array is not None
            return self._array
        array: NDArray[np.float32] = np.load(self._path, mmap_mode="r")
        return array
