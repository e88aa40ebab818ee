"""The console as a program that no key ends: `python -m tests.tui.endless_console [DOCUMENT]`."""

import os
import sys
from pathlib import Path

from engine.config.document import open_document
from engine.config.effective import settings_of
from engine.config.options import Settings
from tui.app import VcbApp


class EndlessApp(VcbApp):
    async def action_quit(self) -> None:
        """Not by chance."""


if __name__ == "__main__":
    document = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    app = EndlessApp(settings_of(open_document(document), os.environ) if document else Settings.of(), document)
    app.run()
    sys.exit(app.return_code)
