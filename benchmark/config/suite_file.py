"""From a suite's name to plain values: find the file, parse it, merge what it extends, apply `--set`."""

import difflib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from quadrat.benchmark.errors import SuiteError

__all__ = ["SuiteFile", "load_yaml", "read_suite_file", "shipped_suites"]

_MAX_DEPTH: Final = 50
_MAX_VALUES: Final = 20_000
_MAX_BYTES: Final = 1_000_000
"""Bounds of a YAML text, far above what suites have."""

_OWN: Final = ("name", "description", "paper", "extends")
"""Keys that describe the file itself: a suite never inherits them."""


@dataclass(frozen=True, kw_only=True)
class SuiteFile:
    """Values of a suite file, merged with those of the files that it extends.

    Attributes:
        path: The file.
        values: All values, merged.
        layers: Values of each file alone, by path, the suite's own first.
        overrides: Dotted keys of the settings that override the files.
    """

    path: Path
    values: dict[str, Any]
    layers: dict[Path, dict[str, Any]]
    overrides: tuple[str, ...] = ()

    def origin(self, location: Sequence[str | int]) -> str:
        """Return where the value at `location` was given, as a message names it: by a setting, or in a file.

        It is the suite's own file where none has it. What is wrong with the suite as a whole may be a setting's fault.
        """
        parts = [str(part) for part in location]
        for override in reversed(self.overrides):
            own = override.split(".")
            if parts and parts[: len(own)] == own:
                return f"--set {override}"
        for path, values in self.layers.items():
            if _holds(values, location):
                return str(path)
        settings = "".join(f" with --set {override}" for override in self.overrides)
        return f"{self.path}{settings}"


def shipped_suites() -> dict[str, Path]:
    """Return the suites that come with quadrat, by name."""
    folder = Path(str(resources.files("quadrat.benchmark.config.suites")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_suite_file(path_or_name: str | Path, overrides: Sequence[str] = ()) -> SuiteFile:
    """Return the values of a suite file, or of the shipped suite of that name, not validated yet.

    A file may extend another: `extends: camvid-cpu`, the name of a shipped suite or a path relative to the file.
    Mappings are merged key by key, everything else (lists too) is replaced, and a null drops the key that the extended
    file has: what was fixed there is as if it had not been written. `name`, `description` and `paper` are a file's own
    and not inherited.

    Args:
        path_or_name: A path, or a name of `shipped_suites()`.
        overrides: `key=value` settings that override the file; keys are dotted (`learner.iterations=50`), values YAML.

    Raises:
        SuiteError: No such file, no YAML, files that extend each other in a circle, or a malformed setting.
    """
    path = _find(path_or_name)
    layers = _read_layers(path)
    values: dict[str, Any] = {}
    for layer_path, layer in reversed(layers.items()):
        given = layer if layer_path == path else {key: value for key, value in layer.items() if key not in _OWN}
        values = _merged(values, given)
    values.pop("extends", None)
    for override in overrides:
        _override(values, override)
    keys = tuple(override.partition("=")[0] for override in overrides)
    return SuiteFile(path=path, values=values, layers=layers, overrides=keys)


def _find(path_or_name: str | Path, *, base: Path | None = None) -> Path:
    """Return the file of a path, which is relative to `base` where there is one, or of a shipped suite."""
    path = Path(path_or_name) if base is None else base.parent / path_or_name
    if path.is_file():
        return path
    shipped = shipped_suites()
    if str(path_or_name) in shipped:
        return shipped[str(path_or_name)]
    close = difflib.get_close_matches(str(path_or_name), shipped, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    place = f"{base}: extends: " if base is not None else ""
    raise SuiteError(
        f"{place}expected a suite file or a shipped suite ({', '.join(shipped)}), got '{path_or_name}'.{hint}"
    )


def _read_layers(path: Path) -> dict[Path, dict[str, Any]]:
    """Return the values of the file and of each file that it extends, directly or not, by path."""
    layers: dict[Path, dict[str, Any]] = {}
    seen: set[Path] = set()
    while True:
        if path.resolve() in seen:
            chain = " -> ".join(map(str, [*layers, path]))
            raise SuiteError(f"extends: expected files that do not extend each other in a circle, got {chain}")
        seen.add(path.resolve())
        layers[path] = _read_yaml(path)
        base = layers[path].get("extends")
        if base is None:
            return layers
        if not isinstance(base, str):
            raise SuiteError(f"{path}: extends: expected one suite file or shipped suite, got {base!r:.80}")
        path = _find(base, base=path)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return `base` updated with `own`: mappings key by key, everything else as a whole; a null drops a key of `base`.

    A key that `base` does not have keeps its null: there is nothing to drop, and it may be a value.
    """
    result = dict(base)
    for key, value in own.items():
        below = result.get(key)
        if value is None and key in result:
            del result[key]
        else:
            result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _holds(values: Any, location: Sequence[str | int]) -> bool:
    for part in location:
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return False
    return bool(location)


class _Loader(yaml.SafeLoader):
    """YAML of bounded size and depth, aliases counted as often as they are used.

    Ten lines of aliases to lists of aliases are a billion values, and hundreds of nested brackets end Python's stack.
    Duplicate keys are refused, which PyYAML would silently resolve to the last one.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._num_values = 0
        self._sizes: dict[int, int] = {}  # of the nodes that are complete

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        """Read a bracket; the scanner runs ahead of `compose_node`, over thousands of them in quadratic time."""
        if self.flow_level == _MAX_DEPTH:
            mark = self.get_mark()
            raise yaml.scanner.ScannerError(None, None, f"expected at most {_MAX_DEPTH} levels", mark)
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node, and count it."""
        is_alias, before = self.check_event(yaml.AliasEvent), self._num_values
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self._depth == _MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"expected at most {_MAX_DEPTH} levels", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, "expected no alias inside what it stands for", mark)
        self._num_values += self._sizes[id(node)] if is_alias else 1
        if self._num_values > _MAX_VALUES:
            raise yaml.composer.ComposerError(None, None, f"expected at most {_MAX_VALUES:,} values", mark)
        if not is_alias:
            self._sizes[id(node)] = self._num_values - before
        return node


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text, which may come from anyone.

    Raises:
        yaml.YAMLError: When it is no YAML, is too large or too deep, or a mapping has a key twice.
    """
    return yaml.load(text, _Loader)  # a SafeLoader


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    counts = Counter(key for key in keys if isinstance(key, Hashable))  # of others construct_mapping complains
    if twice := [key for key, count in counts.items() if count > 1]:
        raise yaml.constructor.ConstructorError(None, None, f"key '{twice[0]}' is there twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _read_yaml(path: Path) -> dict[str, Any]:
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise SuiteError(f"{path}: expected a suite of at most {_MAX_BYTES:,} bytes, got {size:,}: is it another file?")
    try:
        raw = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: expected YAML, got a file that cannot be parsed: {error}") from error
    if not isinstance(raw, dict):
        raise SuiteError(f"{path}: expected a mapping of keys such as name, dataset and learner, got {raw!r:.80}")
    return raw


def _override(raw: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise SuiteError(f"--set: expected key=value such as learner.iterations=50, got '{override}'")
    try:
        value = load_yaml(text)
    except yaml.YAMLError as error:
        raise SuiteError(f"--set {key}: expected a YAML value, got '{text}'") from error
    node: Any = raw
    parts = key.split(".")
    for depth, part in enumerate(parts[:-1]):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
            continue
        if not isinstance(node, dict):
            raise SuiteError(f"--set {key}: expected a mapping at '{'.'.join(parts[:depth])}', got {node!r}")
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
    if isinstance(node, list) and parts[-1].isdigit() and int(parts[-1]) < len(node):
        node[int(parts[-1])] = value
    elif isinstance(node, dict):
        node[parts[-1]] = value
    else:
        raise SuiteError(f"--set {key}: expected a mapping at '{'.'.join(parts[:-1])}', got {node!r}")
