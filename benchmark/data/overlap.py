"""Images that are in pool and test set: by the lists of the splits, and by their pixels."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from quadrat.benchmark.data.dataset import Item
from quadrat.benchmark.data.findings import Finding, some
from quadrat.benchmark.data.loaders.pairs import FilePair

__all__ = ["EQUAL", "FEW", "LISTED", "Split", "equal_images", "identity", "overlap_findings", "shared_items"]

FEW: Final = 0.05
"""Up to this share of the test images that equal one of the pool, a run goes on with a warning."""

LISTED: Final = "images listed in pool and test set"
EQUAL: Final = "equal images in pool and test set"


class Split(NamedTuple):
    """A split of a suite.

    Attributes:
        name: As the suite names it; may be a part of a split.
        items: Its images.
        digests: Of the images' pixels, in the same order; empty while they have not been decoded.
    """

    name: str
    items: Sequence[Item]
    digests: Sequence[str] = ()


def shared_items(pool: Split, test: Split) -> list[Item]:
    """Return the items of `test` that are items of `pool` too: the same file, or the same id of the same split."""
    known = {identity(pool.name, item) for item in pool.items}
    return [item for item in test.items if identity(test.name, item) in known]


def identity(split: str, item: Item) -> tuple[str, str]:
    """Return what an item of `split` is the same by in another split: its image file, else its split and id."""
    if isinstance(item, FilePair):
        return "file", str(item.image)
    return split.partition("[")[0], item.id


def equal_images(pool: Split, test: Split) -> list[tuple[Item, Item]]:
    """Return pairs of different items (of the pool, of the test set) whose images are pixel for pixel the same."""
    shared = {id(item) for item in shared_items(pool, test)}
    first_of = {digest: item for item, digest in reversed(list(zip(pool.items, pool.digests, strict=True)))}
    return [
        (first_of[digest], item)
        for item, digest in zip(test.items, test.digests, strict=True)
        if digest in first_of and id(item) not in shared
    ]


def overlap_findings(pool: Split, test: Split, *, is_allowed: bool) -> list[Finding]:
    """Return what a pool and a test set have in common: nothing, for a fair result.

    Items in both lists, and more than a few equal images, are errors, or problems where the suite allows them; a few
    equal images, as in published splits, are a problem.

    Args:
        pool: The pool; without digests only the lists are compared.
        test: The test set; likewise.
        is_allowed: Whether the suite has set `dataset.allow_overlap`.
    """
    findings: list[Finding] = []
    num = len(test.items)
    reason = "What is trained on would be reported on."
    way_out = (
        "Take disjoint splits, or parts of one such as train[!a*] and train[a*]; if it is meant so, set "
        "dataset.allow_overlap: true."
    )
    if shared := [item.id for item in shared_items(pool, test)]:
        share = f"all {num}" if len(shared) == num else f"{len(shared)} of the {num}"
        text = f"{share} images of test {test.name!r} are in pool {pool.name!r} too: {some(shared)}."
        findings.append(_finding(LISTED, f"{text} {reason}", way_out, is_error=not is_allowed))
    if pool.digests and (equal := equal_images(pool, test)):
        names = [f"{one.id} and {other.id}" if one.id != other.id else one.id for one, other in equal]
        text = (
            f"{len(equal)} of the {num} images of test {test.name!r} are pixel for pixel in pool {pool.name!r}: "
            f"{some(names)}."
        )
        is_error = len(equal) > FEW * num and not is_allowed
        findings.append(_finding(EQUAL, f"{text} {reason}", way_out, is_error=is_error))
    return findings


def _finding(kind: str, text: str, way_out: str, *, is_error: bool) -> Finding:
    if is_error:
        return Finding(severity="error", kind=kind, text=f"{text} {way_out}")
    return Finding(severity="problem", kind=kind, text=text)
