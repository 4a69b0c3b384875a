"""study.json: written, read back, and compared with the study that a suite asks for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.candidates import done, suite_with

from quadrat.benchmark.config.candidates import Candidate, study_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.study_results import (
    StudyResults,
    check_study,
    read_study,
    space_of,
    study_dir,
    write_study,
)


def results_of(suite: Suite, *candidates: Candidate) -> StudyResults:
    study = study_of(suite)
    return StudyResults(study=study, space=space_of(study), directions=study.directions, candidates=candidates)


def test_a_study_of_an_older_definition_of_the_miou_is_read_and_not_continued(tmp_path: Path) -> None:
    written = results_of(suite_with(), done(0, 0.4))
    write_study(tmp_path, written)
    path = study_dir(tmp_path) / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 1}), encoding="utf-8")
    assert read_study(tmp_path) == replace(written, schema=1)
    with pytest.raises(ResultsError, match=r"holds a study of schema 1.*give another --results"):
        check_study(tmp_path, suite_with())


def test_study_json_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = results_of(suite_with(), done(0, 0.4, running=(0.3, 0.4)), done(1, 0.4, same_as=0))
    write_study(tmp_path, written)
    assert read_study(tmp_path) == written
    assert read_study(tmp_path / "elsewhere") is None


def test_a_study_may_grow_but_not_become_another(tmp_path: Path) -> None:
    write_study(tmp_path, results_of(suite_with(), done(0, 0.4)))
    check_study(tmp_path, suite_with(study={"candidates": 9, "best": 2}))
    with pytest.raises(ResultsError, match=r"holds a study with search_seeds = \[10,11\], got search_seeds = \[12\]"):
        check_study(tmp_path, suite_with(study={"search_seeds": [12]}))
    with pytest.raises(ResultsError, match="holds a study with space"):
        check_study(tmp_path, suite_with(study={"space": {"cutoff": {"float": [1, 5]}}}))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "expected JSON"), (json.dumps({"schema": 99}), "expected schema 2 or older, got 99")]
)
def test_a_damaged_or_newer_study_json_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    study_dir(tmp_path).mkdir()
    (study_dir(tmp_path) / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(ResultsError, match=message):
        read_study(tmp_path)
