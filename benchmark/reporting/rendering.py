"""What the pages have in common: templates, a lock on their folder, JSON inside a script element."""

import contextlib
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import jinja2
from filelock import FileLock
from markupsafe import Markup

from quadrat.benchmark.storage.atomic import clear_disk_errors, make_folders, remove_all_temporaries

__all__ = ["locked_folder", "read_template", "script_json", "template_environment"]

_LOCK: Final = ".lock"


def read_template(name: str) -> str:
    """Return the text of a file in `templates`."""
    return (resources.files(__package__ or "quadrat.benchmark.reporting") / "templates" / name).read_text(
        encoding="utf-8"
    )


def template_environment() -> jinja2.Environment:
    """Return the environment of the templates: all text escaped, an unknown name is an error."""

    def load(name: str) -> str | None:
        try:
            return read_template(name)
        except FileNotFoundError:
            return None

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def script_json(value: object) -> Markup:
    """Return JSON escaped for a script element: nothing in it ends the element early."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a page's folder, so that page and files are of one writer; remove what killed writers left."""
    with clear_disk_errors(folder):
        make_folders(folder)
        with FileLock(folder / _LOCK):
            remove_all_temporaries(folder)
            yield
            (folder / _LOCK).unlink(missing_ok=True)  # the folder is uploaded as it is
