"""A lab, a proxy, and points made by real backups of it."""

from tests.flow.conftest import demo_lab, demo_proxy, lab, proxy  # noqa: F401 - fixtures
