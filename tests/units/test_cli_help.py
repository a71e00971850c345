"""Help, examples, usage errors and exit codes: what needs no daemon."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mixmail.cli import main as entry
from mixmail.cli.frame import EXIT_CODES, Command, ExitCode, Group, exit_code, sentence
from mixmail.cli.home import SOCKET_PATH_LIMIT, Home
from mixmail.cli.main import cli
from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError

TOP = Path(__file__).resolve().parents[2]


def all_commands(
    group: click.Group = cli, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(words), group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


COMMANDS = dict(all_commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_has_help_with_examples_and_home(words: str) -> None:
    command = COMMANDS[words]
    assert isinstance(command, Command | Group)
    assert command.help
    result = CliRunner().invoke(cli, [*words.split(), "--help"])
    assert result.exit_code == 0
    assert "--home DIR" in result.output
    shown = result.output.split("Examples:\n")[1]
    for example in command.examples:
        assert f"  {example.strip()}\n" in shown


@pytest.mark.parametrize("example", sorted({e.strip() for c in COMMANDS.values() for e in c.examples}))
def test_each_example_is_a_valid_command_line(example: str) -> None:
    words = shlex.split(example.split("|")[-1].split("<")[0])
    assert words.pop(0) == "mixmail"
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    command.make_context(example, words)  # raises a UsageError for what it does not know


def test_the_exit_codes_stand_in_help_and_docs() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    docs = (TOP / "docs/cli.md").read_text(encoding="utf-8")
    for code, text in EXIT_CODES.items():
        assert re.search(rf"^  {int(code)} +{re.escape(text)}$", shown, re.MULTILINE)
        assert f"| {int(code)} | {text} |" in docs
    assert set(EXIT_CODES) == set(ExitCode)


@pytest.mark.parametrize("words", [words for words in COMMANDS if words and not COMMANDS[words].hidden])
def test_the_docs_name_each_command(words: str) -> None:
    assert f"mixmail {words}" in (TOP / "docs/cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["send"],
        ["send", "echo", "--wait", "read"],
        ["inbox", "--limit", "0"],
        ["contact"],
        ["devnet", "run", "--smoke", "--stop"],
        ["inbox", "--folder", "trash"],
    ],
)
def test_a_wrong_command_line_exits_with_2(words: list[str]) -> None:
    assert CliRunner().invoke(cli, words).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "words",
    [
        ["inbox"],
        ["read", "4f"],
        ["send", "echo", "-m", "x"],
        ["id", "list"],
        ["contact", "list"],
        ["status", "--json"],
        ["stop"],
        ["unlock"],
    ],
)
def test_without_a_daemon_it_is_one_sentence_and_3(words: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, [*words, "--home", str(tmp_path)])
    assert result.exit_code == ExitCode.NO_DAEMON
    assert result.stdout == ""
    assert result.stderr.startswith("mixmail: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_home_may_stand_before_or_after_the_command(tmp_path: Path) -> None:
    too_long = str(tmp_path / ("x" * 80))
    for words in (["--home", too_long, "inbox"], ["inbox", "--home", too_long]):
        assert CliRunner().invoke(cli, words).exit_code == ExitCode.NO_DAEMON


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), 1),
        (UserError("x", "address"), 1),
        (UserError("x", "no-daemon"), 3),
        (UserError("x", "connection-lost"), 3),
        (UserError("x", "unknown-contact"), 4),
        (UserError("x", "not-found"), 4),
        (UserError("x", "timeout"), 5),
        (UserError("x", "network-small"), 5),
        (RemoteProtocolError("x"), 3),
        (LocalProtocolError("x"), 1),
    ],
)
def test_the_exit_code_of_an_error(error: UserError, code: int) -> None:
    assert exit_code(error) == code


def test_a_daemon_of_another_kind_is_one_sentence() -> None:
    assert sentence(RemoteProtocolError("a line is no JSON")).endswith("restart it.")


def test_a_defect_is_one_sentence_and_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(entry, "cli", broken)
    monkeypatch.delenv("MIXMAIL_DEBUG", raising=False)
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == ExitCode.INTERNAL
    printed = capsys.readouterr().err
    assert "ZeroDivisionError" in printed
    assert printed.count("\n") == 1
    monkeypatch.setenv("MIXMAIL_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        entry.main()


def test_the_screen_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from mixmail.cli.screen import open_screen

    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(UserError) as error:
        open_screen(Home.at("/nowhere"))
    assert error.value.code == "no-terminal"


def test_where_the_home_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIXMAIL_HOME", str(tmp_path / "of-environment"))
    assert Home.at().folder == tmp_path / "of-environment"
    assert Home.at(tmp_path / "given").folder == tmp_path / "given"
    monkeypatch.delenv("MIXMAIL_HOME")
    assert Home.at().folder.name == "mixmail"
    monkeypatch.chdir(tmp_path)
    assert Home.at("here").folder == tmp_path / "here"


def test_a_long_home_gets_a_short_socket(tmp_path: Path) -> None:
    assert Home(Path("/home/ada/mail")).socket == Path("/home/ada/mail/control.sock")
    one, two = (Home(tmp_path / (letter * 120)).socket for letter in "ab")
    assert one != two
    assert len(str(one)) <= SOCKET_PATH_LIMIT


def test_a_new_home_is_private_and_a_file_is_no_home(tmp_path: Path) -> None:
    Home(tmp_path / "new" / "home").create()
    assert (tmp_path / "new" / "home").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        Home(tmp_path / "file").create()
    assert error.value.code == "home"
