"""The working directory of a submitted job: Ray's to delete at any time, so that nothing may depend on it."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["in_job_folder", "job_environment", "leave_job_folder"]


def job_environment(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the runtime environment that this process was submitted with, empty when it is no submitted job."""
    config = json.loads(environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    return dict(config.get("runtime_env") or {})


def in_job_folder() -> bool:
    """Return whether this is a job whose working directory was sent along, of which Ray keeps a passing copy."""
    return "working_dir" in job_environment()


def leave_job_folder() -> None:
    """Go on in a copy of the job's working directory, if this is a job that has one.

    With several raylets on one machine the second one unpacks the directory once more: it removes what the first one
    unpacked, under the feet of the driver. What is relative (a suite file, a weight file) is found in the copy.
    """
    if in_job_folder():
        copy = Path(tempfile.mkdtemp(prefix="quadrat-job-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(Path.cwd(), copy, dirs_exist_ok=True)
        os.chdir(copy)
