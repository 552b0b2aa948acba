"""The Ray cluster that a run starts on this machine if it joins no other: closed, and gone when the run ends."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from configs.errors import RequestError
from configs.plain.texts import described

# The length of what Ray adds to its folder for the longest name of a socket, and the most that the system takes.
SOCKET_NAME, SOCKET_PATH = len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.12"), 107
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def close_own_cluster() -> None:
    """Make the cluster that we start listen on loopback only, and require a token that nobody else knows.

    By default Ray listens on every interface, and writes the token to a file that every user of the machine can read.
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        # Ray turns authentication on if the variable is unset, even if Ray has already been imported.
        os.environ.pop("RAY_AUTH_MODE", None)
    if not (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def start_own_cluster(diffusion_actors: int | str, options: dict[str, Any]) -> None:
    """Start Ray on this machine.

    Args:
        diffusion_actors: `compute.diffusion_actors`. Ray counts at least as many CPUs.
        options: further arguments of `ray.init`.

    Raises:
        RequestError: Ray cannot be started.
    """
    import ray

    cpus = max(os.cpu_count() or 1, 1 if isinstance(diffusion_actors, str) else diffusion_actors)
    folder = short_folder()
    try:
        with _in_a_group_of_their_own():
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=folder, **options)
    except Exception as error:
        ray.shutdown()
        raise RequestError(
            file="environment", key="(Ray)", value=folder or "the default folder",
            problem=f"Ray cannot be started on this machine: {described(error)[:500]}",
            allowed="a machine on which `ray start --head` works",
            fix="free disk space, memory or ports, or run in one process with --local",
        ) from error  # fmt: skip


@contextmanager
def _in_a_group_of_their_own() -> Iterator[None]:
    """Have the processes that Ray starts meanwhile form process groups of their own.

    `timeout` and batch systems send their SIGTERM to the whole process group of the driver. Ray's processes would end
    at once, and the driver could not finish the running prompts. They still end when the driver ends.
    """
    from ray._private import services

    popen = services.ConsolePopen
    services.ConsolePopen = partial(popen, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = popen


def short_folder() -> str | None:
    """Return a short folder for Ray if that of the environment is too long for a socket in it; else None.

    Raises:
        RequestError: no short folder can be written.
    """
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(folder)) + SOCKET_NAME <= SOCKET_PATH:
        return None
    for short in SHORT_FOLDERS:
        own = os.path.join(short, f"ray-{os.getuid()}")
        with suppress(OSError):
            os.makedirs(own, mode=0o700, exist_ok=True)
            # Everybody can write to `short`, so somebody else may have made the folder.
            if os.stat(own).st_uid == os.getuid() and os.access(own, os.W_OK | os.X_OK):
                return own
    raise RequestError(
        file="environment", key="RAY_TMPDIR", value=folder,
        problem="the path of this folder is too long for Ray's sockets, and no short one can be written",
        allowed=f"a folder whose path has at most {SOCKET_PATH - SOCKET_NAME} bytes",
        fix="set RAY_TMPDIR to such a folder",
    )  # fmt: skip
