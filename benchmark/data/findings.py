"""Findings about a data set: what `data check`, `data pack` and a run say of its classes, void and lists."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from quadrat.benchmark.data.dataset import VOID, Dataset
from quadrat.benchmark.data.statistics import SplitStatistics
from quadrat.benchmark.errors import DataError

__all__ = [
    "ALL_VOID",
    "MOSTLY",
    "MOSTLY_VOID",
    "ONE_CLASS",
    "Finding",
    "Group",
    "class_findings",
    "grouped",
    "raise_errors",
    "some",
]

Severity = Literal["error", "problem", "note"]
"""An error stops packing and runs. A problem makes results wrong or unfair unless it is meant so: `data check` ends
non-zero, `show`, `data pack`, `run` and the report repeat it. A note is valid and worth knowing."""

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "problem", "note")
"""Worst first."""

MOSTLY: Final = 0.5
"""Above this share of void pixels, and below this share of occurring classes, a split is a problem."""

ALL_VOID: Final = "nothing but void"
ONE_CLASS: Final = "a single class"
MOSTLY_VOID: Final = "mostly void"

THESE_CLASSES: Final = "Are these the classes of these masks, in the order of their ids?"

_SHOWN: Final = 3
"""Examples of one kind, and names in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong or notable.

    Attributes:
        severity: What it means for a run.
        kind: What findings of one kind have in common, a few words; they are shown together.
        text: A sentence that stands alone: where, what, and what to do.
    """

    severity: Severity
    kind: str
    text: str


class Group(NamedTuple):
    """Findings of one severity and kind.

    Attributes:
        severity: Of each.
        kind: Of each.
        texts: One sentence each.
    """

    severity: Severity
    kind: str
    texts: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield the group as lines: a single finding as it is, several under their kind with three examples."""
        if len(self.texts) == 1:
            yield f"{self.severity}: {self.texts[0]}"
            return
        yield f"{self.severity}: {self.kind} ({len(self.texts):,})"
        yield from (f"  {text}" for text in self.texts[:_SHOWN])
        if (more := len(self.texts) - _SHOWN) > 0:
            yield f"  ... and {more:,} more"


def grouped(findings: Iterable[Finding]) -> tuple[Group, ...]:
    """Return the findings by kind: errors before problems before notes, and the most frequent kinds first."""
    texts: dict[tuple[Severity, str], list[str]] = defaultdict(list)
    for found in findings:
        texts[found.severity, found.kind].append(found.text)
    groups = [Group(severity, kind, tuple(found)) for (severity, kind), found in texts.items()]
    return tuple(sorted(groups, key=lambda group: (SEVERITIES.index(group.severity), -len(group.texts))))


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise the first error among `findings`.

    Raises:
        DataError: When there is one.
    """
    for found in findings:
        if found.severity == "error":
            raise DataError(found.text, kind=found.kind)


def class_findings(dataset: Dataset, split: str, statistics: SplitStatistics) -> list[Finding]:
    """Return what is wrong with the classes of a split, by their pixel counts.

    Masks that are read with a wrong meaning of their values leave traces here: in masks of 0 and 255 the foreground is
    void, ids that begin at 1 shift all classes, and a list of classes that belongs to other masks names many that never
    occur.

    Args:
        dataset: The data set.
        split: Name of the split.
        statistics: Its counts.
    """
    if not statistics.num_images:
        return []
    classes, void = dataset.classes, _percent(statistics.void_share)
    absent = [name for name, pixels in zip(classes, statistics.class_px.tolist(), strict=True) if not pixels]
    if len(absent) == len(classes):
        text = (
            f"{split}: every pixel is void, so there is nothing to learn or to evaluate. Take a split whose labels are "
            f"public. {_line(dataset, _binary(classes))}"
        )
        return [Finding(severity="error", kind=ALL_VOID, text=text)]
    problems: dict[str, str] = {}
    if len(absent) == len(classes) - 1:
        (name,) = set(classes) - set(absent)
        problems[ONE_CLASS] = (
            f"every labelled pixel is {name!r} ({void} are void): a model that always says {name!r} has an mIoU of "
            f"100 %. {_line(dataset, _binary(classes)) if statistics.void_px else THESE_CLASSES}"
        )
    elif len(absent) >= MOSTLY * len(classes):
        problems["most classes never occur"] = (
            f"{len(absent)} of {len(classes)} classes never occur: {some(absent)}. {THESE_CLASSES} "
            f"{_line(dataset, _shifted(classes))}"
        )
    elif absent:
        problems["a class never occurs"] = (
            f"no pixel of {some(absent)}. What the pool lacks can't be learnt, and the mIoU is over the classes of "
            f"the test set's masks: leave out a class that occurs in no split. {_line(dataset, _shifted(classes))}"
        )
    if statistics.void_share > MOSTLY and ONE_CLASS not in problems:
        problems[MOSTLY_VOID] = (
            f"{void} of the pixels are void: their regions cost as much as others and teach nothing. "
            f"{_line(dataset, _named_void(), f'{VOID} is a class')}"
        )
    return [Finding(severity="problem", kind=kind, text=f"{split}: {text}") for kind, text in problems.items()]


def _binary(classes: Sequence[str]) -> str:
    """Return the `ids` of masks whose values are 0 and 255."""
    names = classes if len(classes) == 2 else ("NAME", "NAME")
    return f'"0": "{names[0]}", "{VOID}": "{names[1]}"'


def _named_void() -> str:
    """Return the entry of `ids` by which 255 is a class."""
    return f'"{VOID}": "NAME"'


def _shifted(classes: Sequence[str]) -> str:
    """Return the `ids` of masks in which 0 is no class and the first class is 1."""
    return f'"0": "void", "1-{len(classes)}": "0-{len(classes) - 1}"'


def _line(dataset: Dataset, ids: str, when: str | None = None) -> str:
    """Return what to write if the mask values mean something else, and where."""
    condition = when or ("0 and 255 are both classes" if f'"{VOID}"' in ids else "ids begin at 1 and 0 is no class")
    where = getattr(dataset, "ids_in", None)
    if where is None:
        return f"If {condition} in these masks, the loader of {dataset.name!r} has to say so."
    return f'If {condition} in these masks, write "ids": {{{ids}}} in {where}.'


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are.

    Examples:
        >>> some(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 0.995 or share == 1 else f"{100 * share:.1f} %"
