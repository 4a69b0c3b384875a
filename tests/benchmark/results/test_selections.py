"""Selections of a results folder: one reader for the folder and for the published zip file."""

import io
import json
import os
import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.publish import publish
from quadrat.benchmark.results.selections import Selections, pack_selections, selection_path, write_selection
from quadrat.strategies import Selection

GRID = RegionGrid(np.array([[32, 48], [32, 40]], dtype=np.int32), 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two trials of two rounds."""
    folder = tmp_path / "results"
    for trial, start in (("a-s0", 0), ("b-s0", 4)):
        for round_ in range(2):
            selection = Selection.of(np.array([start + 2 * round_ + 1, start + 2 * round_]), np.array([0.5, np.nan]))
            write_selection(selection_path(folder, trial, round_), selection, GRID, score_s=1.5, select_s=0.25)
    return folder


def test_a_selection_reads_back_as_it_was_written_from_the_folder_and_from_the_zip_file(
    folder: Path, tmp_path: Path
) -> None:
    pack_selections([folder], tmp_path / "packed" / "selections.zip")
    for place in (folder, tmp_path / "packed"):
        file = Selections(place).read("b-s0", 1, GRID)
        assert file is not None
        assert file.regions.tolist() == [7, 6] and file.potential[0] == 0.5 and np.isnan(file.potential[1])
        assert file.image.tolist() == GRID.image[[7, 6]].tolist() and file.row.tolist() == GRID.row[[7, 6]].tolist()
        assert (file.col.tolist(), file.region_size) == (GRID.col[[7, 6]].tolist(), 16)
        assert (file.score_s, file.select_s) == (1.5, 0.25)
        assert Selections(place).read("b-s0", 2) is None and Selections(place).find("c-s0", 0) is None


def test_equal_selections_are_packed_into_equal_bytes(folder: Path, tmp_path: Path) -> None:
    pack_selections([folder], tmp_path / "first.zip")
    shutil.copytree(folder, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.npz"):
        path.touch()
    pack_selections([tmp_path / "copy"], tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_what_a_run_adds_to_a_published_folder_is_packed_with_the_rest(folder: Path, tmp_path: Path) -> None:
    pack_selections([folder], tmp_path / "grown" / "selections.zip")
    write_selection(selection_path(tmp_path / "grown", "a-s0", 2), Selection.of(np.array([8])), GRID)
    pack_selections([tmp_path / "grown"], tmp_path / "again" / "selections.zip")
    selections = Selections(tmp_path / "again")
    assert [selections.find("a-s0", round_) is not None for round_ in range(4)] == [True, True, True, False]


def test_where_there_are_no_selections_there_is_no_zip_file(tmp_path: Path) -> None:
    (tmp_path / "selections.zip").write_bytes(b"of an earlier copy")
    pack_selections([tmp_path / "empty"], tmp_path / "selections.zip")
    assert not (tmp_path / "selections.zip").exists()


def test_damaged_files_are_named_with_what_to_do(folder: Path) -> None:
    selection_path(folder, "a-s0", 0).write_bytes(b"PK")
    with pytest.raises(ResultsError, match=r"a-s0/round-0\.npz: expected a selection .* Running the suite again makes"):
        Selections(folder).read("a-s0", 0)
    (folder / "selections.zip").write_bytes(b"no zip file")
    with pytest.raises(ResultsError, match=r"selections\.zip: expected the selections of a suite, got a damaged zip"):
        Selections(folder)


def damage(archive: Path, name: str) -> None:
    """Overwrite the middle of a member's bytes, as a bad disk would."""
    with zipfile.ZipFile(archive) as packed:
        entry = packed.getinfo(name)
    content = bytearray(archive.read_bytes())
    middle = entry.header_offset + 30 + len(name) + entry.compress_size // 2
    content[middle : middle + 16] = bytes(byte ^ 0xFF for byte in content[middle : middle + 16])
    archive.write_bytes(content)


def test_a_damaged_round_of_a_zip_file_is_named_and_hides_no_other(folder: Path, tmp_path: Path) -> None:
    pack_selections([folder], tmp_path / "published" / "selections.zip")
    damage(tmp_path / "published" / "selections.zip", "a-s0/round-1.npz")
    pack_selections([tmp_path / "published"], tmp_path / "scratch" / "selections.zip")  # as verify does
    selections = Selections(tmp_path / "scratch")
    with pytest.raises(ResultsError, match=r"a-s0/round-1\.npz: expected a selection with the arrays"):
        selections.read("a-s0", 1)
    assert selections.read("a-s0", 0) is not None
    write_selection(selection_path(tmp_path / "published", "a-s0", 2), Selection.of(np.array([8])), GRID)
    with pytest.raises(ResultsError, match=r"a-s0/round-1\.npz: expected a selection .* Restore .*published"):
        pack_selections([tmp_path / "published"], tmp_path / "merged.zip")


def flag_as_encrypted(archive: Path) -> None:
    """Set the bit of every entry, in the file and in its index, that says so."""
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 4)
    archive.write_bytes(content)


def test_an_encrypted_zip_file_beside_a_folder_is_refused_with_a_sentence(folder: Path, tmp_path: Path) -> None:
    pack_selections([folder], folder / "selections.zip")
    flag_as_encrypted(folder / "selections.zip")
    with pytest.raises(ResultsError, match=r"round-0\.npz: expected a selection .* encrypted.* Restore "):
        pack_selections([folder], tmp_path / "merged.zip")


def test_names_that_lead_out_of_a_folder_are_not_packed(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / "selections.zip", "w") as archive:
        archive.writestr("../round-0.npz", selection_path(folder, "a-s0", 0).read_bytes())
        archive.writestr("a-s0/other.txt", b"not a selection")
    with pytest.raises(ResultsError, match=r"selections\.zip, got '\.\./round-0\.npz'"):
        pack_selections([folder], tmp_path / "merged.zip")


@pytest.mark.parametrize("inner", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path, inner: int) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", inner) as npz:
        npz.writestr("regions.npy", bytes(2**27))
    with zipfile.ZipFile(tmp_path / "selections.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-s0/round-0.npz", content.getvalue())
    tracemalloc.start()
    with pytest.raises(ResultsError, match=r"round-0\.npz: expected a selection, got 128 MiB compressed to 0\.\d:"):
        Selections(tmp_path).read("a-s0", 0)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("other", [RegionGrid(GRID.sizes, 8), RegionGrid(GRID.sizes[:1], 16)])
def test_a_selection_of_another_grid_is_refused(folder: Path, other: RegionGrid) -> None:
    with pytest.raises(ResultsError, match=f"expected regions of {other.region_size} px over this pool"):
        Selections(folder).read("b-s0", 1, other)


def test_a_published_copy_holds_what_readers_need_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    for name in ("records.jsonl", "suite.json", "environment.json", "study/study.json", "store/fit/x", "previews/y"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}" if name.endswith(".json") else name)
    packed: dict[str, dict[str, Any]] = {
        split: {"path": f"/home/me/cache/packed/camvid-{split}"} for split in ("pool", "test")
    }
    about = {"name": "slic", "digest": "0" * 64, "by_content": False}
    packed["pool"]["maps"] = [{**about, "path": "/home/me/cache/packed/camvid-pool/regions-slic-r16"}]
    data = {"name": "camvid", "root": "/home/me/data", "pool": "train", "test": "test"}
    suite = {"dataset": data, "learner": {"weights": "packaged"}}
    document = json.loads((write_fake_results(tmp_path) / "suite.json").read_text()) | {"trials": []}
    document["suite"] |= suite
    for split in ("pool", "test"):
        document["dataset"][split] |= packed[split]
    (folder / "suite.json").write_text(json.dumps(document))
    command = "quadrat run /home/me/my.yaml --cache /scratch/me --set learner.iterations=5 --results=/home/me/out"
    (folder / "environment.json").write_text(json.dumps({"cores": 2, "command": command}))
    curves = folder / "report" / "files" / "learning-curves-labelled-fraction.svg"
    curves.parent.mkdir(parents=True)
    curves.write_text("<svg/>")
    (curves.parent / "gains.svg").write_text("<svg/>")
    target = tmp_path / "published"
    publish(folder, target)
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == {
        "records.jsonl",
        "suite.json",
        "environment.json",
        "study/study.json",
        "selections.zip",
        "learning-curves.svg",
        "gains.svg",
    }
    os.utime(curves, ns=(0, 0))  # before the last record came
    publish(folder, target)
    assert not (target / "learning-curves.svg").exists() and (target / "gains.svg").exists()
    document["suite"]["dataset"]["root"] = None
    document["dataset"]["pool"] |= {
        "path": "cache/packed/camvid-pool",
        "maps": [{**about, "path": "cache/packed/camvid-pool/regions-slic-r16"}],
    }
    document["dataset"]["test"]["path"] = "cache/packed/camvid-test"
    assert json.loads((target / "suite.json").read_text()) == document
    assert json.loads((target / "environment.json").read_text()) == {
        "cores": 2,
        "command": "quadrat run my.yaml --cache CACHE --set learner.iterations=5 --results=RESULTS",
    }
    assert (target / "records.jsonl").read_bytes() == (folder / "records.jsonl").read_bytes()
    (folder / "records.jsonl").unlink()
    with pytest.raises(ResultsError, match=r"expected a results folder with records\.jsonl"):
        publish(folder, target)
