"""The selections of a results folder: one file a round below `selections/`, or all of them in `selections.zip`."""

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from quadrat.benchmark.config.trial import FULL_SUPERVISION
from quadrat.benchmark.data import Layout
from quadrat.benchmark.errors import QuadratError, ResultsError
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.storage.atomic import atomic_file, atomic_write
from quadrat.benchmark.storage.names import check_name
from quadrat.benchmark.storage.remote import Remote
from quadrat.strategies import Selection
from quadrat.strategies.selection_file import Place, SelectionFile, read_place, round_name, rounds_in, trials_in

__all__ = [
    "ARCHIVE",
    "FOLDER",
    "DamagedSelectionError",
    "Selections",
    "find_gaps",
    "pack_selections",
    "put_aside",
    "selection_digest",
    "selection_path",
    "write_selection",
]

_ASIDE: Final = ".damaged"

FOLDER: Final = "selections"
ARCHIVE: Final = "selections.zip"


def selection_path(results_dir: Path, trial_id: str, round_: int) -> Path:
    """Return where a run writes the selection of a round."""
    return Path(results_dir) / FOLDER / trial_id / round_name(round_)


def write_selection(
    path: Path, selection: Selection, layout: Layout, *, score_s: float = 0.0, select_s: float = 0.0
) -> None:
    """Write a selection, atomically.

    Args:
        path: The file, see `selection_path`.
        selection: What was selected.
        layout: The pool's regions.
        score_s: Seconds of the scoring pass before it.
        select_s: Seconds that the strategy took.
    """
    regions = selection.regions
    file = SelectionFile(
        regions=regions,
        potential=selection.potential,
        image=layout.image[regions],
        row=layout.row[regions],
        col=layout.col[regions],
        region_size=layout.region_size,
        score_s=score_s,
        select_s=select_s,
    )
    atomic_write(path, file.to_bytes())


def selection_digest(selection: Selection) -> str:
    """Return the SHA-256 of the selected regions in their order, independent of byte order."""
    return hashlib.sha256(selection.regions.astype("<i8").tobytes()).hexdigest()


class DamagedSelectionError(ResultsError):
    """A selection cannot be read.

    Args:
        path: Its file.
        message: What is wrong, and what to do.
    """

    def __init__(self, path: Place, message: str) -> None:
        super().__init__(message)
        self.path = path


class Selections:
    """Reads the selections of a results folder; a file in the folder counts before the same name in the zip file.

    Args:
        results_dir: The results folder.
    """

    def __init__(self, results_dir: Path) -> None:
        self._results_dir = Path(results_dir)
        archive = self._results_dir / ARCHIVE
        try:
            self._archive = zipfile.Path(archive) if archive.is_file() else None
        except zipfile.BadZipFile as error:
            raise ResultsError(
                f"{archive}: expected the selections of a suite, got a damaged zip file; restore it from where it was "
                "published"
            ) from error

    def find(self, trial_id: str, round_: int) -> Place | None:
        """Return the file of a round's selection, None when it has not been made."""
        path = selection_path(self._results_dir, trial_id, round_)
        if path.is_file():
            return path
        if self._archive is None:
            return None
        packed = self._archive / trial_id / round_name(round_)
        return packed if packed.is_file() else None

    def read(self, trial_id: str, round_: int, layout: Layout | None = None) -> SelectionFile | None:
        """Return a round's selection, None when it has not been made.

        Args:
            trial_id: The trial.
            round_: Counted from 0.
            layout: When given, the selection must be of its regions.

        Raises:
            ResultsError: When the file is damaged or belongs to another layout.
        """
        path = self.find(trial_id, round_)
        if path is None:
            return None
        try:
            file = SelectionFile.read(path)
        except QuadratError as error:
            raise DamagedSelectionError(path, f"{error}. {_way_on(path)}") from error
        if layout is not None and not _is_of(file, layout):
            raise ResultsError(
                f"{path}: expected regions of {layout.region_size} px over this pool, cut as here, got a selection of "
                "another; use another --results folder"
            )
        return file


def _is_of(file: SelectionFile, layout: Layout) -> bool:
    if file.region_size != layout.region_size:
        return False
    if file.regions.size and (file.regions.min() < 0 or file.regions.max() >= layout.num_regions):
        return False
    is_same = np.array_equal(file.image, layout.image[file.regions])
    if layout.digest is not None:  # centres, to the last bit
        is_same &= np.array_equal(file.row, layout.row[file.regions])
        is_same &= np.array_equal(file.col, layout.col[file.regions])
    return is_same


def _way_on(path: Place) -> str:
    if isinstance(path, Path):
        return "Running the suite again makes the selection again"
    return (
        "A published selection can't be made again: restore the zip file from where it was published, or run the suite "
        "in a folder of its own"
    )


def put_aside(path: Path) -> None:
    """Rename a selection that is not what it should be, so that it is made again; nothing reads it then."""
    if path.is_file():
        path.replace(path.with_name(path.name + _ASIDE))


def find_gaps(results_dir: Path, records: Iterable[Record], remote: Remote | None = None) -> dict[tuple[str, int], str]:
    """Return what is wrong with the selections of rounds that are recorded, by trial and round.

    Those of a folder are read and compared with the digest in their record. At a URL only their names are looked up.

    Args:
        results_dir: The results folder.
        records: Records of it; full supervision has no selections.
        remote: Where the results are kept as well.
    """
    selections = Selections(results_dir)
    there = set(remote.names(FOLDER)) if remote is not None else set()
    gaps = {}
    for record in records:
        if record.strategy == FULL_SUPERVISION or f"{FOLDER}/{record.trial_id}/{round_name(record.round)}" in there:
            continue
        if (gap := _gap(selections, record)) is not None:
            gaps[record.key] = gap
    return gaps


def _gap(selections: Selections, record: Record) -> str | None:
    try:
        file = selections.read(record.trial_id, record.round)
    except DamagedSelectionError:
        return "is damaged"
    if file is None:
        return "is not there"
    return None if selection_digest(file.selection) == record.picks_digest else "is not the recorded one"


def pack_selections(results_dirs: Sequence[Path], destination: Path) -> None:
    """Write all selections of results folders to the zip file `destination`: equal selections give equal bytes.

    Where there are none there is no file.

    Where they are in the zip file of one folder only, it is copied as it is: a damaged round shows when it is read.
    Where several folders hold a round, the first counts.

    Raises:
        ResultsError: When there are files and a zip file, or several folders, and a zip file is damaged.
    """
    if len(results_dirs) == 1 and not (results_dirs[0] / FOLDER).is_dir():
        if (published := results_dirs[0] / ARCHIVE).is_file():
            atomic_write(destination, published.read_bytes())
            return
    files: dict[str, bytes] = {}
    for results_dir in reversed(results_dirs):
        files |= _selection_files(results_dir)
    if not files:  # as of published results that came without: a reader would take an empty file for all of them
        destination.unlink(missing_ok=True)
        return
    with atomic_file(destination) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # of 1980, not of today
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=9)


def _selection_files(results_dir: Path) -> dict[str, bytes]:
    """Return the content of every selection file by its name in a zip file; a file in the folder counts first."""
    folder, published = results_dir / FOLDER, results_dir / ARCHIVE
    files: dict[str, bytes] = {}
    if published.is_file():
        try:
            for packed in trials_in(published):
                for path in rounds_in(packed).values():
                    files[check_name(f"{packed.name}/{path.name}", f"{published}")] = read_place(path)
        except QuadratError as error:
            raise ResultsError(f"{error}. Restore {published} from where it was published") from error
    for trial in folder.iterdir() if folder.is_dir() else ():
        files |= {f"{trial.name}/{path.name}": path.read_bytes() for path in rounds_in(trial).values()}
    return files
