"""Processes that are frozen while another contender has the core, and never left behind."""

import os
import signal
import subprocess

RUNNING = []
# Both contenders get the same preference over whatever else the machine does.
PREFERRED = ["nice", "-n", "-20"]


class Frozen:
    """A process that runs only while it is measured."""

    def __init__(self, pid):
        self.pid = pid
        RUNNING.append(self)

    def freeze(self):
        """Stops it where it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        """Lets it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def end(self):
        """Kills it, frozen or not."""
        if self in RUNNING:
            RUNNING.remove(self)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def end_all():
    """Kills whatever still runs."""
    for process in list(RUNNING):
        process.end()


def run(command, timeout, **options):
    """Runs a command to its end and returns what it gave."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
