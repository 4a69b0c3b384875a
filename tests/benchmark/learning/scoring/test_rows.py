"""Values of regions: equal in memory and streamed, finite, and an error on a full disk."""

import io
from pathlib import Path

import numpy as np
import pytest
from support.learning_fakes import make_grid, make_set

from quadrat.benchmark.errors import ResultsError, TrainingError
from quadrat.benchmark.learning.scoring.rows import RegionRows

_, MASKS = make_set()
GRID = make_grid(MASKS)
NUMBERS = np.random.default_rng(0).standard_normal((GRID.num_regions, 3)).astype(np.float32)
PARTS = np.split(NUMBERS, [5, 20])


@pytest.mark.parametrize("columns", [slice(None), 0], ids=["(R, K)", "(R,)"])
def test_a_streamed_file_equals_one_saved_by_numpy(tmp_path: Path, columns: slice | int) -> None:
    streamed, held = RegionRows("own", GRID, tmp_path / "own.npy"), RegionRows("own", GRID)
    for part in PARTS:
        streamed.append(part[:, columns])
        held.append(part[:, columns])
    mapped, array = streamed.finish(), held.finish()
    expected = io.BytesIO()
    np.save(expected, NUMBERS[:, columns])
    assert (tmp_path / "own.npy").read_bytes() == expected.getvalue()
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, array)


def test_values_that_are_not_finite_are_counted_over_the_whole_pool(tmp_path: Path) -> None:
    wrong = NUMBERS.copy()
    wrong[7, 1] = wrong[7, 2] = wrong[30, 0] = np.nan
    for path in (None, tmp_path / "own.npy"):
        rows = RegionRows("own", GRID, path)
        for part in np.split(wrong, [5, 20]):
            rows.append(part)
        with pytest.raises(TrainingError, match=r"own is not finite in region 7 \(image 0\) and 1 more"):
            rows.finish()


def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(path: Path, mode: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ResultsError, match=r"own\.npy.*No space left on device"):
        RegionRows("own", GRID, tmp_path / "own.npy").append(PARTS[0])
