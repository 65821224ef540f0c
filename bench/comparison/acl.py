"""The classifier alone: DPDK's `dpdk-test-acl` and what Twinpath spends on lookups."""

import re

from cases import MANY, RULES, Row
from failure import CannotMeasure
from process import PREFERRED, run

ROUNDS = 20


def peer_rate(material):
    """Million lookups a second of dpdk-test-acl on one core."""
    acl = material.acl()
    rules = material.folder / "acl.classbench"
    trace = material.folder / "acl.trace"
    rules.write_text("\n".join(acl.classbench()) + "\n")
    if not trace.exists():
        trace.write_text("\n".join(acl.trace(MANY)) + "\n")
    command = [*PREFERRED, "dpdk-test-acl", "-l", "1", "--no-pci", "--in-memory", "-m", "1500", "--",
               f"--rulesf={rules}", f"--tracef={trace}", f"--rulenum={RULES + 1}",
               f"--tracenum={MANY}", "--tracestep=32", f"--iter={ROUNDS}", "--verbose=0"]
    done = run(command, 120)
    said = done.stdout + done.stderr
    found = re.search(r"([\d.]+) cycles/pkt, ([\d.]+) pkt/sec", said)
    if done.returncode != 0 or not found:
        told = next((line for line in said.splitlines() if re.search("rror|Cause", line)), "no answer")
        raise CannotMeasure(f"dpdk-test-acl: {told.strip()}")
    return float(found[2]) / 1e6


def acl_lookup(twinpath, material, plan):
    """Twinpath's whole path without its source and sink, beside the lookup alone: it parses, edits
    and counts too, so the ratio is a lower bound."""
    acl = material.acl()
    frames = material.capture("acl-100k", acl.frames(MANY))
    flows = material.rules("acl-10k", acl.flows())
    row = Row("acl_lookup", "dpdk-test-acl")
    for _ in range(plan.runs):
        told = twinpath.forward(frames, flows, plan.seconds)
        row.add(1 / (1 / told["mpps"] - 1 / told["source_mpps"]), peer_rate(material))
    row.notes.append(f"{RULES:,} rules, {acl.masks()} masks; Twinpath's source subtracted, parse and edit not")
    return row
