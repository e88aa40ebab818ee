"""`vcb` without words: the full-screen console."""

import os
import sys
from pathlib import Path

import platformdirs

from engine.config.document import open_document
from engine.config.effective import default_file, settings_of
from engine.config.options import Settings
from engine.state_directory import StateDirectory
from tui import terminal


def on_a_terminal() -> bool:
    """Whether there is a screen to draw on and a keyboard to read."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def console(file: Path | None = None, *, way_back: str = "") -> int:
    """Runs the console until the operator leaves it, on `file` or the one that a command would take. A configuration
    with mistakes is no hindrance: the console is where they are corrected. `way_back` tells how to see running jobs
    again where plain `vcb` does not show them."""
    file = file or default_file(os.environ)
    settings = settings_of(open_document(file), os.environ) if file else Settings.of()
    profile = terminal.profile(os.environ)
    profile.prepare(os.environ)
    from tui.app import VcbApp  # noqa: PLC0415 - Textual looks at the environment when it is imported

    themes = platformdirs.user_config_path("vcb") / "themes"
    app = VcbApp(settings, file, profile=profile, directory=StateDirectory.default().root, themes=themes)
    app.way_back = way_back or app.way_back
    app.run()
    if app.parting:
        print(app.parting)
    return app.return_code or 0
