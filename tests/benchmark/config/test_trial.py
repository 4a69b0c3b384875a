"""A trial's identity: what is part of it, what is not, and that it is the same before and after a run."""

import pickle
from typing import Any

import pytest
from pydantic import BaseModel

from quadrat.benchmark.config import trial as trial_module
from quadrat.benchmark.config.sharing import planned_round
from quadrat.benchmark.config.trial import (
    IDENTITY,
    IF_CHANGED,
    NOT_IDENTITY,
    Annotator,
    DatasetSpec,
    RegionsSpec,
    TrialSpec,
    identity,
)
from quadrat.benchmark.learning.recipe import Recipe

SPEC = TrialSpec(
    label="es",
    strategy="entropy-spatial",
    params={"cutoff": 1.5},
    seed=0,
    dataset=DatasetSpec(name="scenes", params={"num_train": 4}),
    region_size=16,
    budgets=(10, 20),
    learner=Recipe(iterations=5),
)

CHANGES: dict[str, Any] = {
    "strategy": "entropy",
    "params": {"cutoff": 2.0},
    "seed": 1,
    "dataset": DatasetSpec(name="scenes", params={"num_train": 5}),
    "region_size": 8,
    "budgets": (10, 30),
    "learner": Recipe(iterations=6),
    "files": {"params.cutoff": "ab12"},
    "void_regions": "withhold",
    "regions": RegionsSpec(name="slic"),
    "labels": "dominant",
    "annotator": Annotator(error_rate=0.05),
}


def test_every_field_says_whether_it_is_identity() -> None:
    for model in (TrialSpec, DatasetSpec, Annotator):
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                continue
            marks = [mark for mark in info.metadata if mark in (IDENTITY, NOT_IDENTITY, IF_CHANGED)]
            assert len(marks) == 1, f"{model.__name__}.{name} is not classified"


def test_a_field_that_is_not_classified_is_refused() -> None:
    class Forgetful(BaseModel):
        seed: int = 0

    with pytest.raises(TypeError, match=r"Forgetful\.seed must be marked"):
        identity(Forgetful())


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_a_change_of_an_identity_field_changes_the_trial_id(field: str) -> None:
    assert SPEC.model_copy(update={field: CHANGES[field]}).trial_id != SPEC.trial_id


def test_the_changes_above_cover_every_field_but_the_label() -> None:
    assert set(CHANGES) == set(TrialSpec.model_fields) - {"label"}


def test_trials_of_before_a_field_was_there_keep_their_id() -> None:
    assert {"void_regions", "labels", "annotator"}.isdisjoint(identity(SPEC))
    assert identity(SPEC.model_copy(update={"void_regions": "withhold"}))["void_regions"] == "withhold"


def test_a_nested_model_counts_as_a_whole_once_it_is_not_its_default() -> None:
    noisy = SPEC.model_copy(update={"annotator": Annotator(error_rate=0.05, kind="confused")})
    assert identity(noisy)["annotator"] == {"error_rate": 0.05, "kind": "confused"}
    uniform = SPEC.model_copy(update={"annotator": Annotator(error_rate=0.05)})
    assert len({spec.trial_id for spec in (SPEC, noisy, uniform)}) == 3


def test_the_kind_of_an_error_that_is_never_made_is_not_identity() -> None:
    for given in ({"kind": "confused"}, {"error_rate": 0, "kind": "confused"}, {"error_rate": 0.0}):
        spec = TrialSpec(**{**dict(SPEC), "annotator": given})
        assert spec.trial_id == SPEC.trial_id


def test_the_label_type_is_in_the_readable_part_of_the_id() -> None:
    found = SPEC.model_copy(update={"labels": "multi-class"}).trial_id
    assert found.startswith("entropy-spatial-r16-multi-class-s0-")


def test_a_file_counts_by_its_content_and_not_by_its_path() -> None:
    def spec(folder: str, weights: str, **files: str) -> TrialSpec:
        changes = {"params": {"folder": folder}, "learner": Recipe(iterations=5, weights=weights)}
        return SPEC.model_copy(update={**changes, "files": {key.replace("_", "."): one for key, one in files.items()}})

    first = spec("/a", "/w/1.pth", params_folder="f", learner_weights="w")
    assert spec("/b", "/w/2.pth", params_folder="f", learner_weights="w").trial_id == first.trial_id
    assert spec("/a", "/w/1.pth", params_folder="g", learner_weights="w").trial_id != first.trial_id
    assert spec("/a", "/w/1.pth", params_folder="f", learner_weights="x").trial_id != first.trial_id
    assert spec("/a", "/w/1.pth").trial_id not in (first.trial_id, spec("/b", "/w/1.pth").trial_id)
    assert TrialSpec.model_validate_json(first.model_dump_json()).trial_id == first.trial_id


def test_what_is_kept_and_counted_goes_by_the_content_of_a_file_too() -> None:
    def spec(where: str, content: str) -> TrialSpec:
        changes = {
            "params": {"folder": f"{where}/selections"},
            "learner": Recipe(iterations=5, weights=f"{where}/w.pth"),
            "regions": RegionsSpec.model_construct(name="files", params={"folder": f"{where}/maps"}),
        }
        names = ("params.folder", "regions.folder", "learner.weights")
        return SPEC.model_copy(update={**changes, "files": {name: content + name for name in names}})

    first, moved, other = spec("/a", "1"), spec("/b", "1"), spec("/a", "2")
    assert first.recipe_digest == moved.recipe_digest != other.recipe_digest
    assert planned_round(first, 1) == planned_round(moved, 1) != planned_round(other, 1)
    assert SPEC.recipe_digest == SPEC.learner.digest() and SPEC.recipe_settings == SPEC.learner.model_dump(mode="json")


def test_label_and_root_do_not_change_the_trial_id() -> None:
    moved = SPEC.dataset.model_copy(update={"root": "/elsewhere"})
    assert SPEC.model_copy(update={"label": "other", "dataset": moved}).trial_id == SPEC.trial_id


def test_the_id_is_the_same_after_a_round_trip_through_json() -> None:
    assert TrialSpec.model_validate_json(SPEC.model_dump_json()).trial_id == SPEC.trial_id


def test_the_id_is_golden() -> None:
    """Made once with IDENTITY_VERSION 2: when this fails, finished trials of users would run again."""
    assert SPEC.trial_id == "entropy-spatial-r16-s0-b79292077fe7"


def test_parameters_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="params"):
        TrialSpec(**{**dict(SPEC), "params": {"cutoff": float("nan")}})


def test_the_id_is_computed_once_and_a_copy_with_other_fields_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPEC.model_copy()
    first = spec.trial_id
    made_anew = TrialSpec.model_validate({**SPEC.model_dump(), "seed": 7})
    assert spec.model_copy(update={"seed": 7}).trial_id == made_anew.trial_id != first
    assert spec == TrialSpec.model_validate(SPEC.model_dump())  # what is cached is no field
    assert "trial_id" not in spec.model_dump() and pickle.loads(pickle.dumps(spec)).trial_id == first
    monkeypatch.setattr(trial_module, "identity", lambda spec: pytest.fail("computed again"))
    assert spec.trial_id == first
