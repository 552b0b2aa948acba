"""The benchmarks and the tests on Ray find the processes that they started, even those whose parent is dead."""

import os
import signal
import subprocess

import psutil

from tests.support.cluster.processes import Family, marked, new_mark, title, wait_for


def test_a_child_is_no_orphan_and_a_grandchild_without_a_parent_is_one() -> None:
    family, stranger = Family(new_mark()), new_mark()
    environment = {**os.environ, **family.mark}
    child = subprocess.Popen(["sleep", "61"], env=environment)
    subprocess.run(["sh", "-c", "sleep 62 &"], env=environment, check=True)
    try:
        assert wait_for(lambda: "sleep 62" in family.orphans(), 10)
        assert psutil.Process(child.pid) in family.living() and "sleep 61" not in family.orphans()
        assert not list(marked(stranger))
    finally:
        for process in marked(family.mark):
            process.kill()
        child.wait()
    assert wait_for(lambda: "sleep 62" not in family.orphans(), 10)


def test_a_worker_of_a_ray_job_is_an_orphan_even_as_our_child() -> None:
    family = Family(new_mark())
    worker = subprocess.Popen(["sleep", "63"], env={**os.environ, **family.mark, "RAY_JOB_ID": "01000000"})
    try:
        assert wait_for(lambda: "sleep 63" in family.orphans(), 10)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert "sleep 63" not in family.orphans()


def test_a_descendant_without_the_mark_is_found_even_after_its_parent_died() -> None:
    """Ray's agents lose the mark, because they write their titles over their environment."""
    family = Family(new_mark())
    parent = subprocess.Popen(["sh", "-c", "env -i sleep 64 & wait"], env={**os.environ, **family.mark})
    assert wait_for(lambda: "sleep 64" in map(title, family.living()), 10)
    parent.kill()
    parent.wait()
    try:
        assert "sleep 64" in family.orphans()
    finally:
        for process in family.living():
            if title(process) == "sleep 64":
                process.kill()
