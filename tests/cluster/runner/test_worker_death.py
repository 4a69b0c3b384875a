"""Why a worker died, in one sentence: from the texts of the Ray that is locked."""

import pytest
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayError, WorkerCrashedError

from quadrat.cluster.runner.worker_death import explain_death

ACTOR = "The actor died unexpectedly before finishing this task.\n\tclass_name: TrialActor\n\tactor_id: 0123\n"
MONITOR = (
    "2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.7, ID: ab12) was "
    "27.29GB used / 28.80GB limit (0.947569), which exceeds the memory usage threshold of 0.95.\n"
    + "\n".join(f"line {number} of what Ray says" for number in range(40))
)
BEFORE = (
    "Memory on the node (IP: 10.0.0.7) where the task was running was 27.29GB / 28.80GB (0.94), running low on memory"
)
KERNEL = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was "
    "killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed."
)


def died(text: str) -> ActorDiedError:
    """Return an actor's death with a given text, which Ray reads from a message of its servers."""
    error = ActorDiedError()
    error.error_msg = ACTOR + text
    return error


@pytest.mark.parametrize("error", [OutOfMemoryError(MONITOR), died(MONITOR), died(BEFORE)])
def test_a_worker_that_ray_killed_for_memory_says_so_with_the_node_s_memory(error: RayError) -> None:
    found = explain_death(error)
    assert found is not None and "\n" not in found
    assert found.startswith("Ray killed it because its node ran low on memory (27.29 of 28.80 GB used): run fewer")
    assert "learner.batch_size" in found and "plugins" not in found


def test_a_worker_that_the_kernel_killed_is_not_said_to_lack_a_plugin() -> None:
    found = explain_death(died(KERNEL))
    assert found is not None and "most often by the kernel because memory ran out (`dmesg`" in found


def test_a_node_that_is_gone_is_named() -> None:
    found = explain_death(NodeDiedError("\nThe node 10.0.0.7 was terminated\nmore"))
    assert (
        found
        == "its node is gone (The node 10.0.0.7 was terminated): see that it runs, then run the same command again"
    )


def test_what_is_not_known_is_not_explained() -> None:
    assert explain_death(WorkerCrashedError()) is None
    assert explain_death(died("ModuleNotFoundError: no module named quadrat_checkerboard")) is None
