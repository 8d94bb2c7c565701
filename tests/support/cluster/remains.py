"""What a node leaves on the machine when its servers end: containers, mounts, control groups, a bridge."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import network

CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "featurestore-tests"
END_S = 60.0


@contextmanager
def removed_at_the_end(state: Path, lock: int) -> Iterator[None]:
    """Removes, at the end of the block, and also if this process is killed in it; ``lock`` is held until then."""
    command = [sys.executable, "-m", "cluster.remains", str(state)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    # A session of its own, so that Ctrl-C at a terminal does not end it with the others.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, env=environment, pass_fds=[lock], start_new_session=True
    ) as remover:
        yield
        assert remover.stdin is not None
        remover.stdin.close()
        assert remover.wait() == 0, "see what it printed"


def remove(state: Path) -> None:
    """Leave nothing of the node whose servers had their files in ``state``, and which have ended."""
    _end_containers(state / "containerd.sock")
    for mount in sorted(_mounts(state), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    for root in cgroup_roots():
        for folder, _, _ in os.walk(root / CGROUP, topdown=False):
            _remove_cgroup(Path(folder))
    network.down()
    shutil.rmtree(state, ignore_errors=True)


def _remove_cgroup(folder: Path) -> None:
    """Remove a control group once the kernel lets go of it.

    It is busy (EBUSY) for a while after its last process was killed, and gone (ENOENT) if the kubelet was faster.
    """
    deadline = time.monotonic() + END_S
    while True:
        try:
            return folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def cgroup_roots() -> list[Path]:
    """Folders in which control groups are made: one, or with version 1 one per controller."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return sorted({path.resolve() for path in CGROUPS.iterdir() if (path / "cgroup.procs").exists()})


def _end_containers(socket: Path) -> None:
    """Kill each container's first process, with which all of it ends, and its shim."""
    shims = [pid for pid, command in processes() if f"-address\0{socket}\0" in command]
    ours = [*(pid for pid, _ in processes() if _stat(pid)[1] in shims), *shims]
    for pid in ours:
        _kill(pid)
    deadline = time.monotonic() + END_S
    while any(_stat(pid)[0] not in ("Z", "") for pid in ours) and time.monotonic() < deadline:
        time.sleep(0.02)


def processes() -> Iterator[tuple[int, str]]:
    """Number and command line, its arguments ended by zeros, of all processes of this machine."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "cmdline").read_text(errors="replace")
            except OSError:
                continue  # It has just ended.


def _stat(pid: int) -> tuple[str, int]:
    """State and parent; "" and 0 of a process that there is not."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return state, int(parent)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _mounts(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4].replace("\\040", " ") for line in lines)
    return [point for point in points if Path(point).is_relative_to(folder)]


if __name__ == "__main__":
    sys.stdin.read()  # Until whoever started it ends.
    remove(Path(sys.argv[1]))
