"""Findings as a compiler shows them: the place, the sentence, the line of the file and a caret under it."""

from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from engine.config.finding import Finding
from engine.config.masking import masked
from engine.secret import redact
from tui.figures import clean

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_INDENT = "    "


def finding_lines(
    finding: Finding, source: Callable[[int], str], width: int, terminal: Console | None = None
) -> Iterator[Text]:
    """`source` gives the text of a line of the file the finding is in. No line shows a password.

    On a `terminal` sentences are wrapped between words; for programs each stays on its line.
    """
    place = Text(f"{clean(finding.place)}: " if finding.place else "", "bold")
    severity = Text(f"{finding.severity}: ", STYLES[finding.severity])
    head = Text.assemble(place, severity, clean(redact(finding.text)), Text(f" [{finding.rule_id}]", "dim"))
    yield from head.wrap(terminal, width) if terminal else [head]
    if finding.line and (line := source(finding.line)).strip():
        yield from _marked(line, finding.column, width - len(_INDENT), STYLES[finding.severity])
    if finding.fix or finding.repair:
        offered = " (vcb config repair does it)" if finding.repair else ""
        yield Text(f"{_INDENT}-> {clean(redact(finding.fix or 'repair it'))}{offered}", "dim")


def summary(findings: Sequence[Finding]) -> str:
    """`2 errors, 1 warning`, or `nothing to report`."""
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in STYLES}
    told = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    return ", ".join(told) or "nothing to report"


def _marked(line: str, column: int, width: int, style: str) -> Iterator[Text]:
    """The line, cut to the width around the column, and a caret in the cell of that column."""
    shown = clean(masked(line)).replace("\t", " ")
    before = shown[: max(column - 1, 0)]
    while before and cell_len(before) > width * 2 // 3:
        cut = len(chop_cells(before, width // 2)[0])
        before, shown = before[cut:], shown[cut:]
    yield Text(_INDENT + (chop_cells(shown, max(width, 1)) or [""])[0])
    if column:
        yield Text(f"{_INDENT}{' ' * cell_len(before)}^", style)
