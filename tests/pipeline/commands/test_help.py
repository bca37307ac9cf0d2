"""Help of the command line: every command, argument and option has a text, and it is shown."""

import re
from collections.abc import Iterator

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from kinestore.__main__ import app

SENTENCES = re.compile(r"[A-Z].*\.( \[default: [^]]+\])?", re.DOTALL)


def walk(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk(inner, *path, name)


COMMANDS = dict(walk(get_command(app)))

ONE_OF_TWO = {"features", "clips"}
"""Options of which a head needs the one and a network on frames the other."""


def texts(command: click.Command) -> Iterator[tuple[str, str | None]]:
    yield "the command", command.help
    for parameter in command.params:
        yield str(parameter.name), getattr(parameter, "help", None)


def shown(path: tuple[str, ...]) -> str:
    """The words of a command's help as a terminal shows them, without frames and line breaks."""
    printed = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "150"}).stdout
    return " ".join(re.sub("[─-╿]", " ", printed).split())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_command_argument_and_option_has_a_help_text(path: tuple[str, ...]) -> None:
    for name, text in texts(COMMANDS[path]):
        assert text, f"{name}: has no help text"
        assert SENTENCES.fullmatch(text.strip()), f"{name}: {text!r} is no sentence"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_help_text_is_shown_as_it_is_written(path: tuple[str, ...]) -> None:
    words = shown(path).split()
    for name, text in texts(COMMANDS[path]):
        missing = [word for word in str(text).split() if word not in words]
        assert not missing, f"{name}: {missing} of {text!r} are not shown"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_each_option_that_may_be_left_out_has_its_default_in_the_help(
    path: tuple[str, ...],
) -> None:
    for parameter in COMMANDS[path].params:
        if parameter.required or parameter.name in ONE_OF_TWO:
            continue
        text = str(getattr(parameter, "help", ""))
        known = parameter.default is not None or getattr(parameter, "is_flag", False)
        known = known or "[default: " in text or "repeatable" in text
        assert known, f"{parameter.name}: {text!r} does not say what is used if it is left out"
