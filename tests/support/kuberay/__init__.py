"""Schemas of KubeRay's `RayCluster` and `RayJob` (ray.io/v1), and of a volume claim, with all of a pod's fields.

`schema.json` is made from the custom resource definitions of KubeRay v1.6.2 (Apache License 2.0), see `__main__.py`:
without descriptions, and equal parts written once.
"""

import functools
import json
from pathlib import Path
from typing import Any, Final

import jsonschema

__all__ = ["errors_of"]

_SCHEMA: Final = Path(__file__).parent / "schema.json"


def errors_of(manifest: dict[str, Any]) -> list[str]:
    """Return what is wrong with the spec of a manifest; an unknown field is, as for `kubectl apply`."""
    found = _validator(manifest["kind"]).iter_errors(manifest["spec"])
    return sorted(f"{error.json_path}: {error.message:.200}" for error in found)


@functools.cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    whole = {"$ref": f"#/{kind}", **{key: _strict(value) for key, value in schema.items()}}
    return jsonschema.Draft202012Validator(whole)


def _strict(schema: Any) -> Any:
    """Return a schema in which objects have no other fields than those that it names."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    is_closed = isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema
    is_closed &= not schema.get("x-kubernetes-preserve-unknown-fields")
    found = {key: _strict(value) for key, value in schema.items()}
    return {**found, "additionalProperties": False} if is_closed and "type" in schema else found
