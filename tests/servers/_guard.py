"""Run one command and end its whole process group when the parent goes away.

Usage: `python _guard.py COMMAND...` with a pipe as standard input. The parent stops the command by
closing the pipe, which the kernel also does when the parent is killed, so that even `kill -9` on
pytest leaves no server behind. Runs as a script with `-I -S`, hence no imports from this package.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

# These are throw-away servers: a short grace is for removing their own temporary files only.
GRACE_SECONDS = 3.0


def _signal_group(group: int, number: signal.Signals) -> None:
    # All gone already is fine; macOS says PermissionError for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end_with_parent(group: int) -> None:
    while os.read(0, 1024):
        pass  # nobody writes; an empty read means that the other end was closed
    _signal_group(group, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    _signal_group(group, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run `command` until it ends or standard input is closed; return its exit status."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the pipe alone decides
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_default_signals,
    )
    threading.Thread(target=_end_with_parent, args=(child.pid,), daemon=True).start()
    status = child.wait()
    _signal_group(child.pid, signal.SIGKILL)  # workers that outlive their leader
    return status if status >= 0 else 128 - status


def _default_signals() -> None:
    # An ignored signal stays ignored across exec, and then the server could not be told to stop.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
