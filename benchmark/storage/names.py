"""Names that come from outside (keys of a bucket, identities in a file) before they become paths."""

from quadrat.benchmark.errors import ResultsError

__all__ = ["check_name", "is_name", "is_part"]

_MAX_PART_BYTES = 255
"""What common file systems allow for a file or folder."""


def is_part(text: str) -> bool:
    """Return whether `text` can be the name of a file or folder: no slash, no control character, not `.` or `..`."""
    return (
        text not in ("", ".", "..")
        and not any(letter in "/\\" or not letter.isprintable() for letter in text)
        and len(text.encode(errors="surrogatepass")) <= _MAX_PART_BYTES
    )


def is_name(text: str) -> bool:
    """Return whether `text` names a file below a folder: parts with slashes between them, see `is_part`."""
    return all(is_part(part) for part in text.split("/"))


def check_name(text: str, where: str) -> str:
    """Return `text`, the name of a file below `where`.

    Raises:
        ResultsError: When it is absolute, leaves the folder (`..`), or has an empty part or odd characters.
    """
    if not is_name(text):
        raise ResultsError(
            f"expected names of files below {where}, got {text!r:.200}: it would lie outside, or can't be a file here. "
            "Quadrat does not write such names; remove it there"
        )
    return text
