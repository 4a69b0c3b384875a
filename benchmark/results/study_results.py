"""Results of a study's search: `study/study.json`, the state and values of each candidate.

Everything of the search lies in the folder `study` of a results folder: its records are not results, since the
parameters were chosen on their seeds.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from quadrat.benchmark.config.candidates import Best, Candidate, study_of
from quadrat.benchmark.config.study import Direction, Study
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.atomic import canonical_json, write_json

__all__ = ["StudyResults", "check_study", "read_study", "space_of", "study_dir", "write_study"]

_SCHEMA: Final = 2
"""2: candidates are compared by the mIoU of schema 3 of the records; a search of schema 1 is read but not continued."""

_FILE: Final = "study.json"
_FRAME: Final = ("strategy", "params", "space", "objective", "search_seeds", "test", "sampler", "pruner", "seed")
"""What must stay the same within a study. It may grow: more candidates, more of the best."""


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """What study.json holds.

    Attributes:
        study: The study as the suite gives it.
        space: The searched dimensions, Optuna's JSON of each distribution.
        directions: Whether each objective is to be large or small.
        candidates: By number.
        best: Those that are run on the report seeds, the best first; empty until the search has ended.
        schema: Of the file.
    """

    study: Study
    space: dict[str, str]
    directions: tuple[Direction, ...]
    candidates: tuple[Candidate, ...]
    best: tuple[Best, ...] = ()
    schema: int = _SCHEMA


def space_of(study: Study) -> dict[str, str]:
    """Return the searched dimensions as Optuna writes them."""
    from optuna.distributions import distribution_to_json

    return {name: distribution_to_json(found) for name, found in study.distributions().items()}


def study_dir(results_dir: Path) -> Path:
    """Return the folder of the search inside a results folder."""
    return Path(results_dir) / "study"


def write_study(results_dir: Path, results: StudyResults) -> None:
    """Write study.json, whole or not at all."""
    value = asdict(results)
    value["study"] = json.loads(results.study.model_dump_json())
    write_json(study_dir(results_dir) / _FILE, value)


def read_study(results_dir: Path) -> StudyResults | None:
    """Return what study.json of a results folder holds, None when there has been no study.

    Raises:
        ResultsError: When it is damaged, or was written by a newer quadrat.
    """
    path = study_dir(results_dir) / _FILE
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        schema = int(value["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(
            f"{path}: expected JSON, got a damaged file; delete it: `quadrat study` writes it anew from study.db"
        ) from error
    if schema > _SCHEMA:
        raise ResultsError(f"{path}: expected schema {_SCHEMA} or older, got {schema}; update quadrat")
    return StudyResults(
        study=Study.model_validate(value["study"]),
        space=value["space"],
        directions=tuple(value["directions"]),
        candidates=tuple(
            Candidate(**{**each, "values": tuple(each["values"]), "running": tuple(each["running"])})
            for each in value["candidates"]
        ),
        best=tuple(Best(**each) for each in value["best"]),
        schema=schema,
    )


def check_study(results_dir: Path, suite: Suite) -> None:
    """Refuse a folder that holds another study, before anything runs.

    Raises:
        ResultsError: Naming what differs.
    """
    before = read_study(results_dir)
    if before is None:
        return
    if before.schema < _SCHEMA:
        raise ResultsError(
            f"{results_dir} holds a study of schema {before.schema}, whose mIoU counts a class that the test set lacks "
            "as 0 once it is predicted: its candidates can't be compared with new ones; give another --results"
        )
    study = study_of(suite)
    old, new = (json.loads(each.model_dump_json()) for each in (before.study, study))
    # As it is searched: a strategy's own space may have changed with its version.
    old["space"], new["space"] = before.space, space_of(study)
    for key in _FRAME:
        if canonical_json(old[key]) != canonical_json(new[key]):
            raise ResultsError(
                f"{results_dir} holds a study with {key} = {canonical_json(old[key]):.120}, got {key} = "
                f"{canonical_json(new[key]):.120}; give another --results to keep both"
            )
