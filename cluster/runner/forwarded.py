"""What the driver tells a cluster of itself: some of its environment, and its command line. No secrets.

Ray shows the environment variables of a job and the command line of its driver to all who may ask: in the dashboard, in
the job API (`ray list jobs`), in the logs of its agents.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from quadrat.benchmark.errors import DataError, QuadratError
from quadrat.benchmark.redaction import has_secret, redact, redact_argv
from quadrat.cluster.runner.job_folder import job_environment

__all__ = ["check_command_line", "check_variables", "forwarded_variables", "withheld_variables"]

_FORWARDED: Final = (
    "QUADRAT_DATA",
    "QUADRAT_LEASE_S",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
)
"""Environment variables of the driver that are set on workers on other machines too."""

_NEEDED: Final = "QUADRAT_NEEDED"
"""Variable of workers: names of variables that the driver has but does not send, separated by spaces."""


def forwarded_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables to set on the workers of a cluster: those without a secret, and the names of the others."""
    # A variable that the submitted job sets for its workers must not be set again: Ray calls that a conflict.
    given = job_environment(environ).get("env_vars") or {}
    withheld = withheld_variables(environ)
    found = {
        name: environ[name] for name in _FORWARDED if name in environ and name not in given and name not in withheld
    }
    return {**found, _NEEDED: " ".join(withheld)} if withheld else found


def withheld_variables(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the names of the variables that hold a secret, which every node needs in an environment of its own."""
    given = job_environment(environ).get("env_vars") or {}
    return tuple(name for name in _FORWARDED if name not in given and has_secret(environ.get(name, "")))


def check_variables(environ: Mapping[str, str] = os.environ) -> None:
    """Check on a worker that its node has what the driver has and did not send.

    Without AWS_ENDPOINT_URL, results would go to a bucket of the same name elsewhere.

    Raises:
        DataError: When it has not. Another node may have it.
    """
    if missing := [name for name in environ.get(_NEEDED, "").split() if name not in environ]:
        raise DataError(
            f"expected {' and '.join(missing)} in the environment of this node, got none. The driver's holds a "
            "password and is not sent, since Ray would show it to all: set it on every node before `ray start`"
        )


def check_command_line(argv: Sequence[str] = ()) -> None:
    """Check that a process that joins a cluster was started without a secret among its arguments.

    Args:
        argv: Its arguments, by default those of this process.

    Raises:
        QuadratError: When there is one.
    """
    arguments = list(argv or sys.argv[1:])
    hidden = redact_argv(arguments)
    if shown := [after for before, after in zip(arguments, hidden, strict=True) if before != after]:
        raise QuadratError(
            f"expected a command line without passwords for a run on a Ray cluster, got one in '{redact(shown[0])}': "
            "Ray's dashboard shows the command to all. Set MLFLOW_TRACKING_URI, or what the storage's library reads "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a file in ~/.aws or ~/.mlflow), in the environment"
        )
