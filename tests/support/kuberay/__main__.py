"""Make `schema.json` from a folder of KubeRay's custom resource definitions (ray-operator/config/crd/bases).

cd tests && python -m support.kuberay .../ray-operator/config/crd/bases
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

_LEFT_OUT: Final = {
    "default",
    "description",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
}
_CLAIM: Final = ("headGroupSpec", "template", "spec", "volumes", "[]", "ephemeral", "volumeClaimTemplate", "spec")
_MIN_SHARED_CHARS: Final = 120


def main() -> None:
    """Write the schema."""
    folder = Path(sys.argv[1])
    schemas = {
        kind: _without(_spec_of(folder / f"ray.io_{kind.lower()}s.yaml"), is_map=False)
        for kind in ("RayCluster", "RayJob")
    }
    # A pod may ask for a claim of its own: that of Kubernetes.
    schemas["PersistentVolumeClaim"] = _at(schemas["RayCluster"], _CLAIM)
    counts = Counter(map(_text, _parts(schemas)))
    shared = sorted(text for text, number in counts.items() if number > 1 and len(text) > _MIN_SHARED_CHARS)
    names = {text: f"part{number}" for number, text in enumerate(shared)}
    parts = {name: _shared(json.loads(text), names, is_top=True) for text, name in names.items()}
    document = {**{kind: _shared(schema, names) for kind, schema in schemas.items()}, "$defs": parts}
    path = Path(__file__).parent / "schema.json"
    path.write_text(_text(document).replace('"part', '\n"part') + "\n", encoding="utf-8")


def _spec_of(path: Path) -> Any:
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    (version,) = (version for version in definition["spec"]["versions"] if version["name"] == "v1")
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


def _at(schema: Any, fields: tuple[str, ...]) -> Any:
    for field in fields:
        schema = schema["items"] if field == "[]" else schema["properties"][field]
    return schema


def _without(value: Any, *, is_map: bool) -> Any:
    """Return a schema without what checks nothing; of `properties` (a map by name) all keys are kept."""
    if isinstance(value, list):
        return [_without(item, is_map=False) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: inner for key, inner in value.items() if is_map or key not in _LEFT_OUT}
    return {key: _without(inner, is_map=not is_map and key == "properties") for key, inner in kept.items()}


def _parts(value: Any) -> Iterator[Any]:
    """Yield every schema in a tree of schemas."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value
        for inner in value.values():
            yield from _parts(inner)


def _shared(value: Any, names: dict[str, str], *, is_top: bool = False) -> Any:
    """Return a tree with the parts that occur several times replaced by references."""
    if not isinstance(value, dict):
        return value
    name = None if is_top else names.get(_text(value))
    return {"$ref": f"#/$defs/{name}"} if name else {key: _shared(inner, names) for key, inner in value.items()}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
