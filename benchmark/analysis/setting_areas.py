"""Areas under the learning curves of a setting, and what they are relative to Random and to full supervision."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from quadrat.benchmark.analysis.curves import Curves, areas, common_range, curves_of
from quadrat.benchmark.analysis.measures import MIOU, Cost
from quadrat.benchmark.analysis.settings import Entry, Setting

__all__ = ["SettingAreas", "areas_of"]


@dataclass(frozen=True, kw_only=True)
class SettingAreas:
    """The areas under the curves of a setting over one cost.

    Attributes:
        setting: The setting.
        low: The range of costs that all its curves cover begins here.
        high: It ends here.
        by_entry: Entry -> seed -> area, percent.
        full_supervision: Mean mIoU of full supervision, percent; None where there is none.
    """

    setting: Setting
    low: float
    high: float
    by_entry: Mapping[Entry, Mapping[int, float]]
    full_supervision: float | None

    def gains(self, entry: Entry) -> dict[int, float]:
        """Return seed -> area minus Random's, of the seeds that both have; empty without Random."""
        random = self.setting.random
        if random is None or random not in self.by_entry:
            return {}
        mine, theirs = self.by_entry.get(entry, {}), self.by_entry[random]
        return {seed: mine[seed] - theirs[seed] for seed in mine if seed in theirs}

    def of_random(self, entry: Entry) -> float | None:
        """Return the mean area in percent of Random's, over the seeds that both have."""
        gains = self.gains(entry)
        if not gains or self.setting.random is None:
            return None
        theirs = self.by_entry[self.setting.random]
        return 100 * fmean(self.by_entry[entry][seed] for seed in gains) / fmean(theirs[seed] for seed in gains)

    def of_full(self, entry: Entry) -> float | None:
        """Return the mean area in percent of full supervision."""
        mine = self.by_entry.get(entry)
        return None if self.full_supervision is None or not mine else 100 * fmean(mine.values()) / self.full_supervision


def areas_of(settings: Sequence[Setting], cost: Cost) -> Iterator[tuple[str, SettingAreas]]:
    """Yield the areas of every setting whose curves share a range of that cost."""
    for setting in settings:
        curves: Curves = {
            _key(entry): {
                seed: curves_of(trial.records, cost, MIOU)[trial.label][seed] for seed, trial in seeds.items()
            }
            for entry, seeds in setting.trials.items()
        }
        shared = common_range(curve for seeds in curves.values() for curve in seeds.values())
        if shared is None:
            continue
        found = areas(curves)
        full = [100 * trial.records[-1].miou for trial in setting.full_supervision.values()]
        yield (
            setting.name,
            SettingAreas(
                setting=setting,
                low=shared[0],
                high=shared[1],
                by_entry={entry: found[_key(entry)] for entry in setting.trials},
                full_supervision=fmean(full) if full else None,
            ),
        )


def _key(entry: Entry) -> str:
    return f"{entry.strategy} {entry.params}"
