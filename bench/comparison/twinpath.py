"""Twinpath: `twinpath bench forward`, a process for each run."""

import json
import subprocess

from failure import CannotMeasure
from process import PREFERRED, run


class Twinpath:
    """The program under test."""

    name = "Twinpath"

    def __init__(self, binary, kernel="auto"):
        self.binary, self.kernel = binary, kernel

    def forward(self, capture, rules, seconds, *more, cpu=1):
        """What `bench forward --json` says of one run."""
        command = [*PREFERRED, self.binary, "bench", "forward", "--capture", str(capture), "--rules",
                   str(rules), "--seconds", str(seconds), "--runs", "1", "--cpu", str(cpu),
                   "--kernel", self.kernel, "--json", *map(str, more)]
        try:
            done = run(command, 120)
        except subprocess.TimeoutExpired:
            raise CannotMeasure("twinpath bench forward: no end after two minutes") from None
        if done.returncode != 0:
            told = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
            raise CannotMeasure(f"twinpath: {told}")
        return json.loads(done.stdout)
