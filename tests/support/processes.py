"""What running processes show of themselves: their memory (Linux), and the metrics that they serve."""

from pathlib import Path


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    return megabytes(pid, "status", "VmRSS")


def megabytes(pid: int, file: str, field: str) -> float:
    """A size that the kernel tells of a process: `field` of `/proc/PID/FILE`."""
    text = Path(f"/proc/{pid}/{file}").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


def summed(exposition: str) -> dict[str, float]:
    """Metrics in the Prometheus text format, summed over their labels."""
    totals: dict[str, float] = {}
    for line in exposition.splitlines():
        if line.startswith("#"):
            continue
        name, _, value = line.rpartition(" ")
        name = name.split("{", 1)[0]
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals
