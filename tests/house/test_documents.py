"""README's table is drawn from the option table, and its commands are those that CI runs."""

from pathlib import Path

from engine.config import samples

ROOT = Path(__file__).parents[2]


def test_readme_lists_every_option_as_the_table_has_it():
    readme = (ROOT / "README.md").read_text()
    between = readme.split("<!-- options -->\n")[1].split("<!-- /options -->")[0]
    assert between.strip() == samples.markdown().strip()


def test_ci_runs_the_readmes_test_command():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    command = readme.split("<!-- test command -->\n```sh\n")[1].split("\n```")[0]
    assert command.endswith(".venv/bin/python -m pytest")
    assert "README.md" in ci
    assert "$test_command" in ci
