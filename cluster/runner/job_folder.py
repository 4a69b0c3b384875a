"""The working directory of a submitted job, which Ray may delete at any time."""

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
    """Return the runtime environment of the job that this process is, empty when it was not submitted as one."""
    config = json.loads(environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    return dict(config.get("runtime_env") or {})


def in_job_folder() -> bool:
    """Return whether this is a submitted job whose working directory is a temporary copy that Ray made."""
    return "working_dir" in job_environment()


def leave_job_folder() -> None:
    """Change to a copy of the job's working directory, if this is a submitted job that has one.

    With several raylets on one machine, the second one unpacks the directory again and first removes what the first one
    unpacked, while the driver uses it. Relative paths (a suite file, a weight file) are found in the copy.
    """
    if in_job_folder():
        copy = Path(tempfile.mkdtemp(prefix="quadrat-job-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(Path.cwd(), copy, dirs_exist_ok=True)
        os.chdir(copy)
