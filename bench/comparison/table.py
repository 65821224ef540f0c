"""Results as a table for people, as Markdown for docs/performance.md and as JSON for machines."""

import json

BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
HEAD = ["case", "Twinpath", "peer", "peer's", "ratio", "bar", ""]


def number(value):
    """Three figures, as much as the runs can tell."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cells(row):
    """A row's texts."""
    data = row.as_dict()
    met = {True: "met", False: "MISSED", None: "reported"}[data["met"]]
    if data["ratio"] is None and row.reason:
        met = "not measured"
    ours = number(data["twinpath_mpps"]) + ("" if row.unit == "Mpps" else " " + row.unit)
    return [row.name, ours, row.peer or "-", number(data["peer_mpps"]), number(data["ratio"]),
            "-" if row.bar is None else f">= {row.bar:g}", met]


def remarks(rows):
    """What is to be said of single rows."""
    for row in rows:
        if row.reason:
            yield f"{row.name}: {row.reason}"
        for note in row.notes:
            yield f"{row.name}: {note}"


def machine_line(machine):
    """What it was taken on."""
    return (f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['mhz']} MHz, Linux {machine['kernel']}, "
            f"{' '.join(machine['vectors'])}; Twinpath {machine['twinpath']}, Open vSwitch "
            f"{machine['openvswitch']}, DPDK {machine['dpdk']}; load {machine['load']} at the start")


def text(rows, machine, runs):
    """For the terminal."""
    lines = [HEAD] + [cells(row) for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEAD))]
    printed = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    notes = [f"  {remark}" for remark in remarks(rows)]
    return "\n".join([*printed, "", *notes, "", f"{runs} runs each, in turn; medians.", machine_line(machine)])


def markdown(rows, machine, runs):
    """For the document."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", f"{runs} runs each, in turn; medians; Mpps unless said. {machine_line(machine)}.", ""]
    lines += [f"- {remark}" for remark in remarks(rows)]
    return "\n".join(lines)


def replace_between_markers(path, block):
    """Puts the block between the document's markers."""
    page = path.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest:
        raise ValueError(f"{path} has no {BEGIN}")
    path.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}")


def write_json(path, rows, machine, quick):
    """The file that ratios are read from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"cases": [row.as_dict() for row in rows], "machine": machine, "quick": quick}
    path.write_text(json.dumps(data, indent=2) + "\n")
