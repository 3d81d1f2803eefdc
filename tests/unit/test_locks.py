"""Locks that a forked child finds open."""

from __future__ import annotations

import os
import threading

from object_clerk.locks import ForkSafeLock


def test_excludes_other_threads() -> None:
    """It is a lock: a second thread waits until the first has left."""
    lock = ForkSafeLock()
    order: list[str] = []

    def second() -> None:
        with lock:
            order.append("second")

    thread = threading.Thread(target=second)
    with lock:
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join(5)

    assert order == ["first", "second"]


def test_lock_held_by_another_thread_is_open_in_a_forked_child() -> None:
    """Check 28: who forks while another thread is busy does not wait for it for ever."""
    lock = ForkSafeLock()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        with lock:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join(10)

    assert os.waitstatus_to_exitcode(status) == 7
