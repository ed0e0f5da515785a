"""A report as text."""

from collections import defaultdict

from tabulate import tabulate

from .findings import Effect, Finding, Kind, Report, counted

_WIDTHS = [None, None, None, 36, 40]


def summary_table(report: Report) -> str:
    """A row for every kind of fault and what the code does about it, the worst first."""
    groups: dict[tuple[Kind, tuple[Effect, ...]], list[Finding]] = defaultdict(list)
    for finding in report.findings:
        groups[finding.kind, finding.effects].append(finding)
    rows = [
        [
            found[0].severity.value,
            kind.name.lower(),
            sum(len(finding.files) for finding in found),
            found[0].files[0],
            found[0].consequence,
        ]
        for (kind, _), found in groups.items()
    ]
    header = ["severity", "kind", "count", "example", "what training and evaluation do"]
    return tabulate(rows, header, "simple", maxcolwidths=_WIDTHS)


def details(report: Report, limit: int = 3) -> str:
    """Of every kind: what it is, what to do, and the particulars of the first ``limit``."""
    groups: dict[tuple[Kind, str], list[Finding]] = defaultdict(list)
    for finding in report.findings:
        groups[finding.kind, finding.remedy].append(finding)
    lines = []
    for (kind, remedy), found in groups.items():
        lines.append(f"{kind.name.lower()}: {kind.title}. What to do: {remedy}.")
        lines += [f"  {finding.where}: {finding.detail}" for finding in found[:limit]]
        if len(found) > limit:
            lines.append(f"  and {counted(len(found) - limit, 'more such finding')}")
    return "\n".join(lines)
