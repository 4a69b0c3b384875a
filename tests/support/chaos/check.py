"""What a kill did to a results folder: records lost, doubled or different, files left over or broken."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from quadrat.benchmark.results.comparison import differences

__all__ = ["KINDS", "Fault", "faults", "file_faults", "mlflow_faults"]

Kind = Literal["lost", "doubled", "different", "left over", "ended wrongly"]
KINDS: tuple[Kind, ...] = ("lost", "doubled", "different", "left over", "ended wrongly")


class Fault(NamedTuple):
    """One fault of a scenario."""

    kind: Kind
    text: str


def faults(reference: Path, folder: Path) -> list[Fault]:
    """Return what is wrong with `folder`; nothing when its records and selections equal those of `reference`.

    Records are compared byte for byte, timings aside, in their order, and once more by what `quadrat compare` says.
    """
    expected, got = _lines_by_key(reference), _lines_by_key(folder)
    found = [Fault("lost", f"record {key}") for key in expected if key not in got]
    found += [Fault("doubled", f"record {key}, {len(lines)} times") for key, lines in got.items() if len(lines) > 1]
    found += [Fault("different", f"record {key} is not of this suite") for key in got if key not in expected]
    found += [
        Fault("different", f"record {key}") for key in expected.keys() & got if set(expected[key]) != set(got[key])
    ]
    if not found and list(expected) != list(got):
        found.append(Fault("different", "records.jsonl: another order"))
    if not found:
        found += [Fault("different", line) for line in differences(reference, folder)]
    for path in sorted((reference / "selections").rglob("*.npz")):
        other = folder / path.relative_to(reference)
        if not other.is_file():
            found.append(Fault("lost", f"{other}"))
            continue
        with np.load(path) as first, np.load(other) as second:
            names = set(first.files) - {"score_s", "select_s"}
            found += [
                Fault("different", f"{other}: {name}")
                for name in sorted(names)
                if first[name].tobytes() != second[name].tobytes()
            ]
    rest = [*folder.rglob("*.tmp"), *(folder / "store/checkpoints").glob("*"), *folder.glob("failures.jsonl")]
    return found + [Fault("left over", f"{path.relative_to(folder)}") for path in sorted(rest)]


def _lines_by_key(folder: Path) -> dict[tuple[str, int], list[str]]:
    """Return the lines of records.jsonl by trial and round, without timings and checksum; all other bytes stay."""
    path = folder / "records.jsonl"
    found: dict[tuple[str, int], list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        fields = json.loads(line)
        kept = re.sub(r', "(seconds|usage)": \{[^}]*\}|, "(ended_at|checksum)": [^,}]*', "", line)
        found.setdefault((fields["trial_id"], fields["round"]), []).append(kept)
    return found


def file_faults(reference: Path, folder: Path) -> list[Fault]:
    """Return what is wrong with the files of `folder`; nothing when they are those of `reference`, byte for byte.

    The library that makes PDFs orders their parts anew each time: of them only the end is compared.
    """
    expected, got = _files(reference), _files(folder)
    found = [Fault("lost", name) for name in expected if name not in got]
    found += [Fault("left over", name) for name in got if name not in expected]
    return found + [Fault("different", name) for name in expected.keys() & got if expected[name] != got[name]]


def _files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()[-6 if path.suffix == ".pdf" else 0 :] for path in paths
    }


_UNTIMED: Final = " and key not like 'seconds/%' and key not like 'system/%'"


def mlflow_faults(reference: Path, folder: Path, *, is_anew: bool = False) -> list[Fault]:
    """Return how MLflow's embedded store of `folder` differs from that of `reference`, ids and times aside.

    Args:
        reference: A folder with an `mlflow.db`.
        folder: The folder that is compared with it.
        is_anew: Whether `folder` was trained by itself, so that its phases took other times.
    """
    expected, got = _mlflow_runs(reference, is_anew), _mlflow_runs(folder, is_anew)
    found = [Fault("lost", f"MLflow run {name}") for name in expected if name not in got]
    for name, contents in got.items():
        if name not in expected:
            found.append(Fault("left over", f"MLflow run {name}"))
        elif len(contents) > len(expected[name]):
            found.append(Fault("doubled", f"MLflow run {name}, {len(contents)} times"))
        elif contents != expected[name]:
            pairs = zip(contents, expected[name], strict=True)
            parts = [key for one, other in pairs for key in one if one[key] != other[key]]
            found.append(Fault("different", f"MLflow run {name}: {', '.join(parts)}"))
    return found


def _mlflow_runs(folder: Path, is_anew: bool) -> dict[str, list[Mapping[str, object]]]:
    """Return the contents of MLflow's runs that are not deleted, by name."""
    found: dict[str, list[Mapping[str, object]]] = {}
    with sqlite3.connect(folder / "mlflow.db") as database:
        query = "select run_uuid, name, status, artifact_uri from runs where lifecycle_stage = 'active' order by name"
        for run, name, status, artifacts in database.execute(query).fetchall():
            where = Path(str(artifacts).removeprefix("file://"))

            def rows(query: str, run: str = run) -> Counter[object]:
                return Counter(database.execute(query, (run,)).fetchall())

            found.setdefault(name, []).append(
                {
                    "status": status,
                    "params": rows("select key, value from params where run_uuid = ?"),
                    "metrics": rows(f"select key, value, step from metrics where run_uuid = ?{_UNTIMED * is_anew}"),
                    "data sets": rows(
                        "select d.name, d.digest from inputs i join datasets d on i.source_id = d.dataset_uuid "
                        "where i.destination_id = ?"
                    ),
                    "artifacts": Counter(_artifacts(where)),
                }
            )
    return found


def _artifacts(folder: Path) -> list[str]:
    """Return the artifacts of a run; MLflow names an image by the time at which it was logged and a drawn id."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [re.sub(r"\+timestamp\+\d+\+[0-9a-f-]{36}", "", name) for name in names]
