"""Kills, scenarios and faults of a story, as rows of a table."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.chaos.check import KINDS, Fault

__all__ = ["MAX_BAD", "Tally", "table"]

MAX_BAD = 3
"""Scenarios of a story that may go wrong before the rest of the story is skipped."""

Say = Callable[[str], None]


class Tally:
    """Counts of one story.

    Args:
        story: Its title.
        say: Called with messages.
        before: The row of scenarios that ended well in an earlier process, to go on with.
        save: Called with the row after every scenario: what a scenario that was interrupted had hit is not counted.
    """

    def __init__(
        self,
        story: str,
        say: Say,
        before: Mapping[str, Any] | None = None,
        save: Callable[[dict[str, object]], None] = lambda row: None,
    ) -> None:
        self.story = story
        self.say = say
        self._save = save
        earlier: Mapping[str, Any] = before or {"scenarios": 0, "places": {}, "exit codes": {}}
        self.places: Counter[str] = Counter(earlier["places"])
        self.codes: Counter[int] = Counter({int(code): number for code, number in earlier["exit codes"].items()})
        self.num_scenarios: int = earlier["scenarios"]
        self.num_bad = 0
        self.faults: list[Fault] = []

    @property
    def num_kills(self) -> int:
        """Return the number of kills that hit."""
        return self.places.total()

    @property
    def is_over(self) -> bool:
        """Return whether so many scenarios went wrong that the rest would only repeat it."""
        return self.num_bad >= MAX_BAD

    def kill(self, place: str, code: int) -> None:
        """Count a kill.

        Args:
            place: Where it hit.
            code: Exit code of the run that was hit, or minus the signal that ended it.
        """
        self.places[place] += 1
        self.codes[code] += 1

    def end(self, folder: Path, code: int, output: str, found: Callable[[], list[Fault]]) -> None:
        """Count a scenario.

        Args:
            folder: Its folder; removed unless something is wrong.
            code: Exit code of its last run, which nobody disturbed.
            output: What that run printed.
            found: Compares; called when the last run ended well.
        """
        self.num_scenarios += 1
        faults = [Fault("ended wrongly", f"exit code {code}:\n{output}")] if code else found()
        if faults:
            self.num_bad += 1
            self.faults += [Fault(fault.kind, f"{folder.name}: {fault.text}") for fault in faults]
            self.say(f"{folder.name} is wrong, kept at {folder}\n" + "\n".join(f"  {fault}" for fault in faults[:10]))
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if self.num_scenarios % 10 == 0:
            self.say(f"{self.num_kills} kills in {self.num_scenarios} scenarios, {len(self.faults)} faults")
        self._save(self.row())

    def hang(self, text: str) -> None:
        """Count a scenario in which a run did not end."""
        self.num_scenarios += 1
        self.num_bad += 1
        self.faults.append(Fault("ended wrongly", text))
        self._save(self.row())

    def row(self) -> dict[str, object]:
        """Return the counts as a JSON object."""
        kinds = Counter(fault.kind for fault in self.faults)
        return {
            "story": self.story,
            "kills": self.num_kills,
            "scenarios": self.num_scenarios,
            **{kind: kinds[kind] for kind in KINDS},
            "exit codes": {str(code): number for code, number in sorted(self.codes.items())},
            "places": dict(sorted(self.places.items())),
        }


def table(rows: list[dict[str, object]]) -> str:
    """Return rows as a Markdown table with a line of sums."""
    heads = ["story", "kills", "scenarios", *KINDS, "exit codes of what was hit"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 2), "---"]]
    for row in rows:
        codes = row["exit codes"]
        assert isinstance(codes, dict)
        said = ", ".join(f"{code}: {number}" for code, number in codes.items())
        lines.append([*(str(row[head]) for head in heads[:-1]), said])
    sums = [str(sum(int(str(row[head])) for row in rows)) for head in heads[1:-1]]
    lines.append(["**all**", *sums, ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
