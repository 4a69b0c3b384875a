"""Patterns of file names: `masks/{split}/{id}_mask.png` finds the masks of a split and their ids."""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from quadrat.benchmark.data.loaders.user_files import folders_below
from quadrat.benchmark.errors import DataError

__all__ = ["Found", "Pattern"]

_PART: Final = re.compile(r"\{(\w*)\}|(\*)")


class Found(NamedTuple):
    """A file that fits a pattern.

    Attributes:
        split: What stands for `{split}`; None where the pattern has none.
        id: What stands for the other placeholders, in their order, joined by `/`.
        path: The file, as text: a `Path` for each of many files takes longer than finding them.
    """

    split: str | None
    id: str
    path: str


class Pattern:
    """A path below the root of a data set with placeholders.

    `{split}` is the name of a split and `{id}` the id of an image, which may span folders. Further placeholders, such
    as `{scene}`, stand within one folder and are a part of the id: `{split}/{scene}/images/{id}.png` has ids such as
    `Urban/0`. `*` is anything within one folder, and not part of the id; `.*` at the end is any suffix of `suffixes`.

    Args:
        text: The pattern.
        suffixes: See above.
        where: Where it is written, for messages.

    Raises:
        DataError: When it has no `{id}`, a placeholder twice other than `{split}`, or leaves the root.
    """

    def __init__(self, text: str, suffixes: Sequence[str], where: str) -> None:
        self.text = text
        self._suffixes = tuple(suffixes)
        names = [match[1] for match in _PART.finditer(text) if match[1] is not None]
        self.id_names = [name for name in names if name != "split"]
        bad = (
            "id" not in names
            or len(set(self.id_names)) < len(self.id_names)
            or not all(name.isidentifier() for name in names)
            or text.startswith("/")
            or "\\" in text
            or ".." in PurePosixPath(text).parts
        )
        if bad or "{" in _PART.sub("", text) or "}" in _PART.sub("", text):
            raise DataError(
                f"{where}: expected a pattern of paths below the root with {{id}} and slashes, such as "
                f"masks/{{split}}/{{id}}_mask.png, got {text!r}."
            )

    @property
    def num_literal(self) -> int:
        """Characters that stand for themselves: of two patterns that a file fits, the one with more is meant."""
        return len(_PART.sub("", self.text))

    @property
    def has_split(self) -> bool:
        """Whether the pattern has `{split}`."""
        return "{split}" in self.text

    def _regex(self, split: str | None) -> re.Pattern[str]:
        is_any_suffix = self.text.endswith(".*")
        text = self.text.removesuffix(".*")
        parts, at, seen = list[str](), 0, set[str]()
        for match in _PART.finditer(text):
            parts.append(re.escape(text[at : match.start()]))
            at, name = match.end(), match[1]
            if name is None:
                parts.append("[^/]*")
            elif name == "split" and split is not None:
                parts.append(re.escape(split))
            elif name in seen:
                parts.append(f"(?P={name})")
            else:
                seen.add(name)
                parts.append(f"(?P<{name}>{'.+' if name == 'id' else '[^/]+'})")
        parts.append(f"(?i:{re.escape(text[at:])})")
        if is_any_suffix:
            parts.append(f"(?i:{'|'.join(map(re.escape, self._suffixes))})")
        return re.compile("".join(parts), re.DOTALL)

    def find(self, root: Path, split: str | None = None) -> list[Found]:
        """Return the files below `root` that fit, folder by folder and by name; hidden and system entries do not.

        Args:
            root: The folder of the data set.
            split: Only those of this split; None for all.
        """
        fixed = self.text[: match.start()] if (match := _PART.search(self.text)) else self.text
        if split is not None and match is not None and match[1] == "split" and self.text[match.end() :].startswith("/"):
            fixed = f"{fixed}{split}/"
        regex = self._regex(split)
        found = []
        for place, names in folders_below(root / fixed.rpartition("/")[0]):
            folder = "" if (inside := os.path.relpath(place, root)) == "." else f"{inside.replace(os.sep, '/')}/"
            for name in names:
                if (fit := regex.fullmatch(f"{folder}{name}")) is not None:
                    parts = fit.groupdict()
                    id_ = "/".join(parts[part] for part in self.id_names)
                    found.append(Found(parts.get("split", split), id_, os.path.join(place, name)))
        return found

    def expected(self, root: Path, split: str, name: str, suffix: str) -> Path:
        """Return the path at which the file of an id is expected: with `suffix` for any, a `*` elsewhere stays."""
        text = f"{self.text.removesuffix('.*')}{suffix}" if self.text.endswith(".*") else self.text
        values = dict(zip(self.id_names, name.split("/", len(self.id_names) - 1), strict=False)) | {"split": split}
        return root / _PART.sub(lambda match: values.get(match[1], "*"), text)
