"""Wheels of installed distributions, to be sent with a job: quadrat and the plugins that a suite names."""

import base64
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlparse

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.results.environment import COMMIT_FILE, commit_of
from quadrat.strategies import load
from quadrat.strategies.registry import registry_of

__all__ = ["ShippingError", "distributions_of", "pack"]

_NOT_SHIPPED: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Files that an installer adds to a distribution."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class ShippingError(QuadratError):
    """A distribution cannot be sent to a cluster."""


def distributions_of(suite: Suite) -> list[str]:
    """Return the names of the distributions that provide the suite's code, quadrat first."""
    names = ["quadrat", _origin("datasets", suite.dataset.name)]
    names += [_origin("regions", regions.name) for regions in suite.all_regions()]
    strategies = [(entry.name, entry.params) for entry in suite.strategies]
    if suite.study is not None:
        strategies += [(suite.study.strategy, params) for params in suite.study.corners()]
    for strategy, params in strategies:
        needs = load(strategy, **params).needs
        names.append(_origin("strategies", strategy))
        names += [_origin("signals", name) for name in needs.signals]
        names += [_origin("profiles", name) for name in needs.profiles]
    return list(dict.fromkeys(names))


def _origin(what: str, name: str) -> str:
    registry = registry_of(what)
    registry.get(name)  # raises if it is unknown or broken
    return next(plugin.distribution for plugin in registry.listing() if plugin.name == name)


def pack(name: str, folder: Path) -> Path:
    """Write the wheel of an installed distribution into `folder` and return its path.

    Our own carries the commit of the checkout that it is built from. Its metadata lists no dependencies: Ray installs
    the wheel with pip on every node, which would download torch again. Dependencies come from the cluster's image or
    environment. Equal content gives an equal file, which Ray does not upload twice.

    Args:
        name: The distribution.
        folder: Folder of the wheel.

    Raises:
        ShippingError: When it has compiled code, or is installed from a source folder that cannot be built.
    """
    distribution = metadata.distribution(name)
    source = _source_of(distribution)
    files = _installed(distribution) if source is None else _built(name, source)
    (info,) = {PurePosixPath(path).parts[0] for path in files if PurePosixPath(path).parts[0].endswith(".dist-info")}
    tags = HeaderParser().parsestr(files[f"{info}/WHEEL"].decode())
    if tags["Root-Is-Purelib"] != "true":
        raise ShippingError(
            f"expected '{name}' to be pure Python, got a distribution with compiled code (tag {tags['Tag']}): install "
            "it in the cluster's image, and submit with --no-ship"
        )
    if name == "quadrat" and source is not None and (commit := commit_of(source)) is not None:
        files[f"{info}/{COMMIT_FILE}"] = commit.encode()
    files[f"{info}/METADATA"] = _without_dependencies(files[f"{info}/METADATA"])
    # Ray identifies a wheel by its name, hence a build tag that changes with the content.
    digest = hashlib.sha256(b"".join(name.encode() + data for name, data in sorted(files.items()))).hexdigest()
    path = folder / f"{info.removesuffix('.dist-info')}-0x{digest[:12]}-py3-none-any.whl"
    _write(path, info, files)
    return path


def _source_of(distribution: metadata.Distribution) -> Path | None:
    """Return the source folder of an editable install, whose files are not in the environment; None for others."""
    text = distribution.read_text("direct_url.json")
    origin = json.loads(text) if text else {}
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(origin["url"]).path))


def _installed(distribution: metadata.Distribution) -> dict[str, bytes]:
    """Return the files of an installed wheel without its scripts, which pip generates from the entry points."""
    files = {}
    for file in distribution.files or ():
        path = PurePosixPath(file)
        if ".." in path.parts or path.suffix == ".pyc":
            continue
        if path.parts[0].endswith(".dist-info") and path.name in _NOT_SHIPPED:
            continue
        files[str(path)] = Path(str(distribution.locate_file(file))).read_bytes()
    return files


def _built(name: str, source: Path) -> dict[str, bytes]:
    """Return the files of the wheel that `source` builds; nothing is written to `source`."""
    with tempfile.TemporaryDirectory(prefix="quadrat-ship-") as folder:
        # setuptools would write build/ and *.egg-info to the source, and include files of an earlier build.
        config = Path(folder) / "config.cfg"
        config.write_text(f"[build]\nbuild_base = {folder}/build\n[egg_info]\negg_base = {folder}\n", encoding="utf-8")
        options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index", "--quiet")
        command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, str(source)]
        environment = {**os.environ, "DIST_EXTRA_CONFIG": str(config)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise ShippingError(
                f"expected '{name}', which is installed from {source}, to build a wheel, got from `pip wheel`:\n"
                f"{done.stderr.strip() or done.stdout.strip()}\nInstall pip and the build backend, or install it from "
                "a wheel, or submit with --no-ship to a cluster that has it"
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            names = [file for file in archive.namelist() if not file.endswith(("/", ".dist-info/RECORD"))]
            return {file: archive.read(file) for file in names}


def _without_dependencies(text: bytes) -> bytes:
    header, blank, body = text.decode().partition("\n\n")
    kept = [line for line in header.split("\n") if not line.startswith(("Requires-Dist:", "Provides-Extra:"))]
    return ("\n".join(kept) + blank + body).encode()


def _write(path: Path, info: str, files: dict[str, bytes]) -> None:
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for name, data in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={digest}", len(data)))
    rows.writerow((f"{info}/RECORD", "", ""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*sorted(files.items()), (f"{info}/RECORD", record.getvalue().encode())]:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
