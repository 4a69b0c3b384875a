"""Which Ray a run uses, and what protects one that is started for it. Imports no Ray: it must come before that."""

import os
import secrets
import sys
from collections.abc import MutableMapping
from typing import Final

__all__ = ["protect_own_ray", "resolve"]

_LOOPBACK: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where it is 0, Ray's own choice on Windows and macOS, all its servers listen on 127.0.0.1 alone."""

_TOKENS: Final = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def resolve(address: str | None, environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Return the address of the cluster to join, None when Ray is to be started on this machine."""
    address = address or environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address


def protect_own_ray(address: str | None, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the environment so that a Ray started for this run alone can't be reached by others.

    Its servers listen on the loopback interface, and who wants to join needs a token that only this process and its
    children know, in no file. What the user has set is kept. Without effect when a cluster is joined, and when Ray was
    imported before, since it reads these variables once.

    Args:
        address: As `ray_session` takes it.
        environ: The environment to change.
    """
    if resolve(address, environ) is not None or "ray" in sys.modules:
        return
    environ.setdefault(_LOOPBACK, "0")
    if not any(name in environ for name in _TOKENS):
        environ["RAY_AUTH_MODE"] = "token"
        environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
