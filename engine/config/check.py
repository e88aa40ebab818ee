"""Everything that can be said about a configuration: its text, its values, the rules across them, and the machine."""

from collections.abc import Mapping

from engine.config.document import Document
from engine.config.effective import settings_of
from engine.config.finding import Finding
from engine.config.probes import probe
from engine.config.rules import check_rules


def check(document: Document, environ: Mapping[str, str], *, machine: bool = True) -> list[Finding]:
    """All findings about `document` with the environment's VCB_* values over it, in the order of the file; what has
    no place in it comes last. Rules do not speak about an option whose value could not be read.

    Without `machine` the directories that it names are not looked at: that may take minutes where a server is away.
    """
    settings = settings_of(document, environ)
    unread = {name for finding in settings.findings if finding.severity == "error" for name in finding.options}
    said = len(settings.findings)
    findings = check_rules(settings)
    drawn = [
        finding
        for finding in findings[said:] + (probe(settings) if machine else [])
        if unread.isdisjoint(finding.options)
    ]
    return sorted(findings[:said] + drawn, key=_place)


def errors_in_file(document: Document) -> list[Finding]:
    """The errors that lie in the file itself: its text, its names and values. An option that is missing is none, nor
    is the state of this machine."""
    return [finding for finding in settings_of(document, {}).findings if finding.severity == "error"]


def _place(finding: Finding) -> tuple[bool, int, int]:
    return finding.line == 0, finding.line, finding.column
