"""A keyring for processes of tests: PYTHON_KEYRING_BACKEND=tests.secrets.file_keyring.FileKeyring.

It keeps its entries in the JSON file that $TEST_KEYRING names.
"""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class FileKeyring(KeyringBackend):
    priority = 1  # pyright: ignore[reportAssignmentType] - keyring documents it as a plain number

    def get_password(self, service: str, username: str) -> str | None:
        return self._entries().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._file().write_text(json.dumps(self._entries() | {f"{service} {username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        self._file().write_text(
            json.dumps({key: v for key, v in self._entries().items() if key != f"{service} {username}"})
        )

    def _entries(self) -> dict[str, str]:
        return json.loads(self._file().read_text()) if self._file().exists() else {}

    @staticmethod
    def _file() -> Path:
        return Path(os.environ["TEST_KEYRING"])
