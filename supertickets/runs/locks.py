"""Claims: several sweeps may work on one store at once, and no run is carried out by two of them.

A claim is a file that only one process can create. Its owner renews it while it works; one that was not renewed for
long is void, since its owner was killed, and on the owner's own machine as soon as the process is gone. On a store that
cannot create a file exclusively, the worst that happens is that a run is carried out twice, with one record.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from supertickets.errors import SuperticketsError
from supertickets.runs.store import RunStore

EXPIRY = 120.0
"""Seconds after which a claim that was not renewed is void; the clocks of machines that share a store must agree to
within a fraction of it."""


@contextmanager
def claimed(store: RunStore, run_id: str, expiry: float = EXPIRY) -> Iterator[bool]:
    """Whether this process may carry out the run; if so, the claim is renewed while the context lasts, then given up.

    >>> import tempfile
    >>> store = RunStore(tempfile.mkdtemp())
    >>> with claimed(store, "0123456789abcdef0123") as mine, claimed(store, "0123456789abcdef0123") as too:
    ...     mine, too
    (True, False)
    """
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
    files, claim = store.files, _claim(run_id)

    def stamped() -> bytes:
        return json.dumps({**owner, "time": time.time()}).encode()

    if not files.create(claim, stamped()):
        held = files.read_if_there(claim)
        if not (_void(store, run_id, held, expiry) and _remove(store, run_id, held) and files.create(claim, stamped())):
            yield False
            return
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(expiry / 6):
            with contextlib.suppress(SuperticketsError, OSError):  # a hiccup of the disk; the next renewal may do
                files.write(claim, stamped())

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        stop.set()
        thread.join()
        if _parsed(files.read_if_there(claim)).get("token") == owner["token"]:
            files.take(claim)


def tidy(store: RunStore) -> None:
    """Removes what killed sweeps left: void claims, heartbeats of runs that nobody is at, unfinished files.

    What cannot be removed stays; runs under way are left alone.
    """
    with contextlib.suppress(SuperticketsError, OSError):
        for run_id in store.claims():
            held = store.files.read_if_there(_claim(run_id))
            if held is not None and _void(store, run_id, held, EXPIRY):
                _remove(store, run_id, held)
        for run_id in store.running():
            if store.files.read_if_there(_claim(run_id)) is None:  # it is given up after the heartbeat
                store.forget_heartbeat(run_id)
        store.remove_unfinished()


def _claim(run_id: str) -> str:
    return f"claims/{run_id}.json"


def _remove(store: RunStore, run_id: str, void: bytes | None) -> bool:
    """Gets a void claim out of the way; of several that try, one is told that it did."""
    taken = store.files.take(_claim(run_id))
    if taken is not None and taken != void:  # it was another's new claim by then
        store.files.create(_claim(run_id), taken)
    return taken is not None and taken == void


def _parsed(claim: bytes | None) -> dict[str, object]:
    """A claim's content; empty for one that is gone or half-written."""
    try:
        content = json.loads(claim or b"")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _void(store: RunStore, run_id: str, claim: bytes | None, expiry: float) -> bool:
    held = _parsed(claim)
    stamp, pid = held.get("time"), held.get("pid")
    if not isinstance(stamp, int | float):
        return store.files.age(_claim(run_id)) > expiry  # one that is just being written is not void
    if held.get("host") == socket.gethostname() and isinstance(pid, int) and not (pid > 0 and alive(pid)):
        return True
    return not abs(time.time() - stamp) <= expiry  # one of the far future, or of no time at all, is void too


def alive(pid: int) -> bool:
    """Whether there is a process of this number on this machine; on Windows, where asking ends it, always so.

    There a claim is void once it is not renewed, as are those of other machines.
    """
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # not ours, so there
        return True
    return True
