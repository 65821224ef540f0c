"""Counts the instructions of a function in another program, one by one, by ptrace(2).

The only way to count AVX-512 on a machine without performance counters: valgrind does not know it. The
program runs freely up to the function, is stepped through it, and runs on. What is counted is what
the processor completes: a string instruction (`rep movsb`) traps after each of its rounds and is one
all the same, as under valgrind. x86-64 only.
"""

import ctypes
import os
import re
import signal
import subprocess

TRACEME, PEEKTEXT, PEEKUSER, POKETEXT, POKEUSER, CONT, STEP = 0, 1, 3, 4, 6, 7, 9
# Places in `struct user`: instruction pointer, stack pointer.
RIP, RSP = 16 * 8, 19 * 8
BREAKPOINT = 0xCC

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class CannotStep(Exception):
    """Why nothing was counted."""


def _ask(request, pid, address=0, data=0):
    """ptrace(2); -1 is an answer too, so the error is cleared before."""
    ctypes.set_errno(0)
    answer = _ptrace(request, pid, address, data)
    if answer == -1 and ctypes.get_errno():
        raise CannotStep(f"ptrace: {os.strerror(ctypes.get_errno())}")
    return answer & 0xFFFF_FFFF_FFFF_FFFF


def _place(binary, pid, function):
    """Address of a function in the running program."""
    names = subprocess.run(["nm", "--defined-only", binary], capture_output=True, text=True).stdout
    found = re.findall(rf"^(\w+) [tT] (\S*{function}\S*)$", names, re.M)
    if len(found) != 1:
        raise CannotStep(f"{len(found)} functions are called {function}")
    base = None
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        for line in maps:
            if line.rstrip().endswith(str(binary)):
                base = int(line.split("-")[0], 16)
                break
    if base is None:
        raise CannotStep(f"{binary} is not in the program's memory")
    return base + int(found[0][0], 16)


def _start(command):
    """The program, stopped before its first instruction; with one processor for both."""
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
            _ask(TRACEME, 0)
            os.execv(command[0], command)
        finally:
            os._exit(127)
    os.waitpid(pid, 0)
    return pid


def _wait(pid):
    """Whether the program goes on after it stopped; it must have stopped by a trap."""
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        return False
    if not os.WIFSTOPPED(status) or os.WSTOPSIG(status) != signal.SIGTRAP:
        raise CannotStep(f"the program stopped with status {status:#x}")
    return True


def _through(pid):
    """Steps from a function's first instruction to its return; how many instructions."""
    back = _ask(PEEKTEXT, pid, _ask(PEEKUSER, pid, RSP))
    count, before, here = 0, None, _ask(PEEKUSER, pid, RIP)
    while here != back:
        # An instruction that is still where it was is in its next round.
        count += here != before
        before = here
        _ask(STEP, pid)
        if not _wait(pid):
            raise CannotStep("the program ended inside of the function")
        here = _ask(PEEKUSER, pid, RIP)
    return count


def _to_call(pid, at):
    """Lets the program run to the next call of the function at an address, with nothing changed there."""
    word = _ask(PEEKTEXT, pid, at)
    _ask(POKETEXT, pid, at, word & ~0xFF | BREAKPOINT)
    _ask(CONT, pid)
    if not _wait(pid):
        raise CannotStep("the program ended before the function was called so often")
    _ask(POKETEXT, pid, at, word)
    _ask(POKEUSER, pid, RIP, at)


def count(command, function, calls, every):
    """Instructions of `calls` calls of a function of `command`'s program: each `every`th."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    pid = _start([str(word) for word in command])
    total = 0
    try:
        at = _place(command[0], pid, function)
        for call in range(1, calls * every + 1):
            _to_call(pid, at)
            if call % every == 0:
                total += _through(pid)
            else:
                _ask(STEP, pid)
                _wait(pid)
    finally:
        os.sched_setaffinity(0, allowed)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    return total
