"""Passwords typed by a person or handed over by a program: never echoed, never in an argument."""

import sys
import warnings
from collections.abc import Callable
from getpass import GetPassWarning, getpass
from typing import IO

from engine.config.secrets import LONGEST, checked
from engine.errors import ConfigError
from engine.secret import Secret

Ask = Callable[[str], str]


def can_ask() -> bool:
    """Whether somebody sits in front of this command."""
    return sys.stdin.isatty()


def ask_hidden(question: str) -> str:
    """One line from the terminal, which shows nothing of it. Raises ConfigError where that cannot be promised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)  # getpass would go on and echo
        try:
            return getpass(question, stream=sys.stderr)
        except EOFError:
            raise ConfigError("no password was given") from None
        except GetPassWarning:
            raise ConfigError(
                "there is no terminal to ask for the password", hint="Pipe it in: vcb config password --stdin < FILE"
            ) from None


def ask_twice(question: str, ask: Ask = ask_hidden) -> Secret:
    """A new password, typed twice alike. Raises ConfigError."""
    first = checked(ask(question), "the password")
    if checked(ask("The same again: "), "the password") != first:
        raise ConfigError("the two passwords differ; nothing has been stored")
    return first


def read_line(stream: IO[bytes]) -> Secret:
    """The first line of a pipe or file. Raises ConfigError, also for a terminal: that would show what is typed."""
    if stream.isatty():
        raise ConfigError("--stdin is for a pipe or a file; without it the terminal is asked and shows nothing")
    line = stream.readline(LONGEST + 1).removesuffix(b"\n").removesuffix(b"\r")
    if len(line) > LONGEST:
        raise ConfigError(f"the password on standard input is longer than {LONGEST} bytes")
    try:
        return checked(line.decode(), "the password on standard input")
    except UnicodeDecodeError:
        raise ConfigError("the password on standard input is not a text in UTF-8") from None
