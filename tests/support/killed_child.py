"""A child process that is killed at a chosen file operation, for tests of what a crash leaves on the disk."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

# Every change of the disk by the driver and the writers is a call of one of these functions of `os`.
STEPS = ("mkdir", "open", "fdopen", "fsync", "chmod", "replace", "link", "unlink", "rmdir", "close")


def in_a_child(work: Callable[[], object], die_before: int) -> bool:
    """Do the work in a forked process that is killed before its n-th file operation; return whether it was killed."""
    child = os.fork()
    if not child:
        try:
            steps = 0

            def counted(step: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal steps
                    steps += 1
                    if steps == die_before:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return step(*arguments, **options)

                return call

            for name in STEPS:
                setattr(os, name, counted(getattr(os, name)))
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"the child ended with status {status}, but the test did not kill it"
    return status != 0
