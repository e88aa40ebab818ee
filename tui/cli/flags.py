"""The flags that all commands share, drawn from the option table. There is none for a password."""

import os
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from engine.config import secrets
from engine.config.effective import default_file, load
from engine.config.option_types import ChoiceListOption, ChoiceOption, Option
from engine.config.options import OPTIONS, Origin, Settings
from engine.config.rules import require_runnable
from engine.errors import ConfigError
from tui.cli.hidden_input import ask_hidden, can_ask

COMMON = Group("Configuration", sort_key=10)
SETTINGS = Group(
    "Settings",
    help="Each overrides the configuration file and the environment (VCB_NAME) for this run.",
    sort_key=20,
)
_ALIASES = {"TRANSPORT_MODE": "--transport"}

JsonFlag = Annotated[
    bool,
    Parameter(
        name="--json",
        negative=(),
        show_default=False,
        help="One JSON object on standard output; the rest on standard error.",
    ),
]


def flag(name: str) -> str:
    """The flag of an option: --loglevel, --snapshot-policy."""
    return "--" + name.lower().replace("_", "-")


def _common_type() -> type:
    """A dataclass whose fields cyclopts turns into flags; the values stay texts, the option table reads them."""
    config = Parameter(
        name="--config",
        group=COMMON,
        help="Configuration file: .js (VCB's config.js) or .toml. Without it $VCB_CONFIG, else vcb.toml or config.js "
        "in ~/.config/vcb, /etc/xdg/vcb or /etc/vcb.",
    )
    set_option = Parameter(
        name="--set",
        group=COMMON,
        negative=(),
        show_default=False,
        metavar="NAME=VALUE",
        help="Any setting by its name in the file, such as --set MAX_RETRIES=3. May be given more than once.",
    )
    fields: list[Any] = [
        ("config", Annotated[Path | None, config], field(default=None)),
        ("set", Annotated[tuple[str, ...], set_option], field(default=())),
    ]
    for name, option in OPTIONS.items():
        if not option.secret:
            names = (flag(name), _ALIASES[name]) if name in _ALIASES else (flag(name),)
            parameter = Parameter(
                name=names, group=SETTINGS, help=_flag_help(option), metavar=option.kind.upper(), show_default=False,
                show_choices=False, converter=_as_typed, negative=(),
            )  # fmt: skip
            words = Literal[tuple(option.choices)] if isinstance(option, ChoiceOption | ChoiceListOption) else str
            fields.append((name, Annotated[words | None, parameter], field(default=None)))
    common = make_dataclass("Common", fields, frozen=True)
    common.__module__ = __name__  # cyclopts takes a class of the module `types` for a scalar
    return common


def _as_typed(_: type, tokens: Sequence[Token]) -> str:
    """The text itself: shells complete the words of a choice, and the option table says what is wrong with another."""
    return tokens[0].value


def _flag_help(option: Option[Any]) -> str:
    """The first sentence of the option's help, and its allowed values where its kind does not tell them."""
    first = option.help.split(". ")[0].rstrip(".") + "."
    allowed = option.allowed[:1].upper() + option.allowed[1:]
    return first if option.kind in ("text", "path", "host") else f"{first} {allowed}."


if TYPE_CHECKING:
    Common = Any
else:
    Common = Annotated[_common_type(), Parameter(name="*")]


def settings_from(common: Any, environ: "os._Environ[str] | dict[str, str]" = os.environ) -> Settings:
    """The settings in effect for a command. Raises ConfigError for anything wrong with them, rules included."""
    settings = unchecked_settings(common, environ)
    require_runnable(settings)
    return settings


def unchecked_settings(common: Any, environ: "os._Environ[str] | dict[str, str]" = os.environ) -> Settings:
    """The settings in effect, before the rules are asked."""
    overrides: dict[str, str] = {}
    for pair in common.set if common else ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f'--set needs NAME=VALUE; "{name}" has no "="')
        overrides[name.strip().upper()] = value
    for name in OPTIONS:
        if common and (value := getattr(common, name, None)) is not None:
            overrides[name] = value
    file = (common.config if common else None) or default_file(environ)
    return load(file, environ, overrides)


def with_password(settings: Settings) -> Settings:
    """The settings with the password in them, asked from the terminal if there is no other source. Raises ConfigError.

    Asked here and not by the job: the prompt must not stand in the middle of redrawn lines.
    """
    return secrets.with_password(settings, _prompt(settings))


def with_typed_password(settings: Settings) -> Settings:
    """As `with_password`, but one that the job's worker can find by itself (PASSWORD_FILE, systemd's credential, the
    keyring) is left to it: only that it is there is made sure. Raises ConfigError."""
    found = secrets.find_password(settings, _prompt(settings))
    typed = found.origin == secrets.PROMPTED
    return settings.having("PASSWORD", found.secret, Origin(secrets.PROMPTED)) if typed else settings


def _prompt(settings: Settings) -> secrets.Prompt | None:
    return (lambda: ask_hidden(question(settings))) if can_ask() else None


def question(settings: Settings) -> str:
    return f"Password of {settings.USERNAME} at {settings.HOST}: "
