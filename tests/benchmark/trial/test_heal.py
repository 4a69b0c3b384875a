"""Damaged files of a run: what can be computed again is, with a note, and the records stay the same."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.learning.learner import Learner
from quadrat.benchmark.results.previews import previews_path, read_previews
from quadrat.benchmark.results.records import Record, without_timings
from quadrat.benchmark.results.selections import pack_selections
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.benchmark.trial.progress import Progress

Rerun = Callable[[Path], tuple[list[dict[str, object]], list[str]]]
SUITE = Suite.model_validate(
    {**TINY_SUITE, "budgets": [6, 12], "strategies": ["entropy-spatial"], "resources": {"keep": "all"}}
)


def run(folder: Path) -> tuple[list[dict[str, object]], list[str]]:
    """Run the suite's only trial and return its records and the notes."""
    notes: list[str] = []

    def on_progress(progress: Progress) -> None:
        if progress.note:
            notes.append(progress.note)

    context = TrialContext.open(SUITE, folder)
    records: list[Record] = list(run_trial(SUITE.trials()[0], context, on_progress))
    return [without_timings(record) for record in records], notes


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    assert run(folder)[1] == []
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def flip(path: Path) -> None:
    """Flip a bit of each byte of a stretch: some single bits of a zip file mean nothing."""
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, min(len(data) // 2 + 100, len(data))):
        data[place] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize(
    ("file", "needed_by"),
    [
        ("store/evaluation/*/confusion.npy", ()),
        ("store/evaluation/*/summary.json", ()),
        ("store/fit/*/fitted.pt", ("store/evaluation",)),
        ("store/scores/*/signals.npz", ("selections",)),
        ("store/preview/*/previews.npz", ("previews",)),
        ("previews/*/round-1.npz", ()),
        ("selections/*/round-1.npz", ()),
    ],
)
def test_a_damaged_file_is_made_again_and_said_and_the_records_are_the_same(
    original: Path, copy: Path, damage: Callable[[Path], None], file: str, needed_by: tuple[str, ...]
) -> None:
    expected, _ = run(original)
    paths = sorted(copy.glob(file))
    assert paths
    for path in paths:
        damage(path)
    for folder in needed_by:  # so that it is looked up
        shutil.rmtree(copy / folder)
    records, notes = run(copy)
    assert records == expected
    is_gone_alone = damage == Path.unlink and not file.startswith("store")
    assert bool(notes) != is_gone_alone, notes  # what is missing outside the store is made as in a first run
    assert all(path.is_file() for path in paths)
    assert run(copy) == (expected, [])
    (spec,) = SUITE.trials()
    assert read_previews(previews_path(copy, spec.trial_id, 1))


def test_a_damaged_checkpoint_is_said_and_the_fit_begins_again(
    original: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = run(original)
    shutil.rmtree(copy / "store")
    assert Learner.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Learner.__init__.__kwdefaults__, "checkpoint_every_s", 0.0)

    def stop(progress: Progress) -> None:
        if progress.phase == "fit" and progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_trial(SUITE.trials()[0], TrialContext.open(SUITE, copy), stop))
    (checkpoint,) = (copy / "store/checkpoints").iterdir()
    flip(checkpoint)
    records, notes = run(copy)
    assert records == expected
    assert len(notes) == 1 and "is damaged: it has another content than was written; the fit begins again" in notes[0]


def test_flipped_test_masks_are_packed_again_and_the_records_are_the_same(
    original: Path, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = run(original)
    shutil.rmtree(copy / "store")
    (path,) = copy.glob("cache/packed/scenes-test-*/masks.bin")
    data = path.read_bytes()
    path.write_bytes(bytes(len(data) // 4) + data[len(data) // 4 :])
    assert run(copy)[0] == expected
    assert "masks.bin has another content than was written" in caplog.text


def test_a_damaged_published_selection_is_an_error_that_names_the_file_and_the_way_on(
    original: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "published" / "selections.zip"
    pack_selections([original], archive)
    data = bytearray(archive.read_bytes())
    data[data.index(b"round-1.npz") + 40] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ResultsError, match=r"selections\.zip.*round-1\.npz.*restore the zip file from where it was"):
        run(tmp_path / "published")
