"""One strategy of a suite, as the file names it."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from quadrat.benchmark.config.trial import FULL_SUPERVISION, GRID_REGIONS, PRECISE, LabelType, RegionsSpec
from quadrat.benchmark.learning.scoring.signals import SIGNALS
from quadrat.strategies import load

__all__ = ["StrategyEntry", "with_labels"]


class StrategyEntry(BaseModel):
    """One strategy of a suite.

    Attributes:
        name: Registered name, see `quadrat list strategies`.
        label: Name in tables and figures; must differ when a strategy occurs twice. By default the name, with kind of
            regions and label type where the entry has its own.
        params: Its parameters; what is left out takes the strategy's default.
        region_size: Its own edge of a region, pixels, at the same number of pixels; by default the suite's.
        labels: Its own label type; by default the suite's.
        regions: Its own way to cut images; by default the suite's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str
    params: dict[str, Any] = Field(default_factory=dict)
    region_size: PositiveInt | None = None
    labels: LabelType | None = None
    regions: RegionsSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        entry = {"name": value} if isinstance(value, str) else value
        if not isinstance(entry, dict):
            return entry
        name = _with_regions(entry.get("name"), entry.get("regions"))
        return {"label": with_labels(name, entry.get("labels")), **entry}

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name == FULL_SUPERVISION:
            raise ValueError(
                f"a strategy, and '{FULL_SUPERVISION}' is none: write 'full_supervision: true' in the suite"
            )
        if not (self.label.strip() and self.label.isprintable()):
            raise ValueError("a label of printable characters, in one line")
        if self.label == FULL_SUPERVISION:
            raise ValueError(f"a label other than '{FULL_SUPERVISION}', which names the trial with all labels")
        # Unknown names, parameters and signals are errors here, before anything runs.
        needs = load(self.name, **self.params).needs
        known = SIGNALS.names()
        if unknown := sorted(set(needs.signals) - set(known)):
            raise ValueError(f"a strategy of known signals ({', '.join(known)}); there is no signal '{unknown[0]}'")
        return self


def _with_regions(label: Any, regions: Any) -> Any:
    """Return the name of a strategy with the kind of its regions, which is left out where it is the grid."""
    kind = regions.get("name") if isinstance(regions, dict) else getattr(regions, "name", regions)
    return label if kind in (None, GRID_REGIONS.name) else f"{label} {kind}"


def with_labels(label: Any, labels: Any) -> Any:
    """Return the name of a strategy with its label type, which is left out where it is precise."""
    return label if labels in (None, PRECISE) else f"{label} {labels}"
