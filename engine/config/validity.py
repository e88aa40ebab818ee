"""Whether a configuration may be saved: the errors that lie in the file itself; and which secrets a save takes out.

A file need not be complete (the environment and the command line add to it), and what the machine is like today (a
directory that is missing, a mode) forbids a run, not a save. `engine.config.check` tells all of that.
"""

from pathlib import Path

from engine.config.document import document_of
from engine.config.effective import settings_of
from engine.config.finding import Finding
from engine.config.options import OPTIONS
from engine.config.rules import check_rules

_OF_THE_RUN = frozenset({"mandatory", "password-readable", "sspi"})


def errors_of(data: bytes, file: Path) -> list[Finding]:
    """Errors of the text and of single values, then contradictions between them. Raises ConfigError when the name of
    the file does not say what it is."""
    settings = settings_of(document_of(data, file), {})
    errors = [finding for finding in settings.findings if finding.severity == "error"]
    unread = {name for finding in errors for name in finding.options}
    contradictions = [
        finding
        for finding in check_rules(settings)[len(settings.findings) :]
        if finding.severity == "error" and finding.rule_id not in _OF_THE_RUN and unread.isdisjoint(finding.options)
    ]
    return errors + contradictions


def secrets_replaced(before: bytes, after: bytes, file: Path) -> list[str]:
    """The secret options whose value in `before` is no longer that in `after`."""
    old, new = (document_of(data, file).values() for data in (before, after))
    values = {name: entry.value for name, entry in old.items() if OPTIONS.get(name) and OPTIONS[name].secret}
    return [name for name, value in values.items() if value and (name not in new or new[name].value != value)]
