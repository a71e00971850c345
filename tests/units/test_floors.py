"""The floors hold only if the contracts of setup.cfg can see a breach: each is planted here once.

What import-linter cannot see (an import inside of a function, `open`) is checked on
the syntax trees, on the real code and on planted code.
"""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]

# contract in setup.cfg: (file to plant, its one line, what the report must name)
PLANTED = {
    "floors": ("mixmail/sphinx/planted_floor.py", "import mixmail.node", "mixmail.sphinx"),
    "sans-io": ("mixmail/boxes/planted_socket.py", "import socket", "mixmail.boxes.planted_socket"),
    "crypto": ("mixmail/mail/planted_nacl.py", "import nacl.signing", "mixmail.mail.planted_nacl"),
    "tls": ("mixmail/storage/planted_tls.py", "from OpenSSL import SSL", "mixmail.storage.planted_tls"),
    "screen": ("tui/planted_server.py", "import mixmail.control.codec", "tui.planted_server"),
    "client": ("tui/planted_twisted.py", "import twisted.internet", "tui.planted_twisted"),
    "wiring": (
        "mixmail/control/planted_daemon.py",
        "import mixmail.daemon",
        "mixmail.control.planted_daemon",
    ),
    "lab": ("mixmail/lab/planted_twisted.py", "import twisted.internet.task", "mixmail.lab.planted_twisted"),
    "doubles": ("mixmail/link/planted_double.py", "import mixmail.testing", "mixmail.link.planted_double"),
    "figures": ("mixmail/mixing/planted_numpy.py", "import numpy", "mixmail.mixing.planted_numpy"),
}


def contracts() -> dict[str, str]:
    """id -> name of each contract in setup.cfg."""
    config = configparser.ConfigParser()
    config.read(TOP / "setup.cfg")
    prefix = "importlinter:contract:"
    return {s.removeprefix(prefix): config[s]["name"] for s in config.sections() if s.startswith(prefix)}


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((TOP / folder).rglob("*.py")):
            yield str(path.relative_to(TOP)), ast.parse(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says about a copy of the code with all breaches planted."""
    tree = tmp_path_factory.mktemp("floors")
    shutil.copy(TOP / "setup.cfg", tree)
    for package in ("mixmail", "tui"):
        shutil.copytree(TOP / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, line, _ in PLANTED.values():
        (tree / file).write_text(line + "\n", encoding="utf-8")
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout


def test_each_contract_has_a_planted_breach() -> None:
    assert set(PLANTED) == set(contracts())


@pytest.mark.parametrize("contract", PLANTED)
def test_a_breach_is_found(contract: str, report: str) -> None:
    name = contracts()[contract]
    assert re.search(rf"^{re.escape(name)}\s+BROKEN", report, re.MULTILINE), report
    # the details of a broken contract stand under its underlined name
    details = report.split("Broken contracts")[1].split(f"\n{name}\n-", 1)[1]
    details = re.split(r"\n[^\n]+\n-{5,}\n", details)[0]
    assert PLANTED[contract][2] in details


def test_each_package_has_its_floor() -> None:
    config = configparser.ConfigParser()
    config.read(TOP / "setup.cfg")
    layers = set(re.findall(r"[\w.]+", config["importlinter:contract:floors"]["layers"]))
    found = {
        f"mixmail.{path.stem}"
        for path in (TOP / "mixmail").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - layers == {"mixmail.__init__", "mixmail.lab", "mixmail.testing"}


# what import-linter cannot see


def reactor_imports(tree: ast.Module) -> list[int]:
    """Lines that import Twisted's global reactor while the module itself is being imported."""
    lines = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            names = set()
        if "twisted.internet.reactor" in names:
            lines.append(node.lineno)
        todo.extend(ast.iter_child_nodes(node))
    return lines


def calls_of_open(tree: ast.Module) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
    ]


def test_no_library_code_imports_the_reactor() -> None:
    found = {file: lines for file, tree in modules("mixmail", "tui") if (lines := reactor_imports(tree))}
    assert found == {}


def test_floors_0_to_4a_open_no_files() -> None:
    floors = ("crypto", "sphinx", "boxes", "directory", "mixing", "mail", "node", "agent")
    trees = modules(*(f"mixmail/{floor}" for floor in floors))
    found = {file: lines for file, tree in trees if (lines := calls_of_open(tree))}
    assert found == {}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("from twisted.internet import reactor", [1]),
        ("import twisted.internet.reactor", [1]),
        ("if True:\n    from twisted.internet import defer, reactor", [2]),
        ("def main():\n    from twisted.internet import reactor", []),
        ("from twisted.internet import task", []),
    ],
)
def test_the_search_for_the_reactor(code: str, lines: list[int]) -> None:
    assert reactor_imports(ast.parse(code)) == lines


def test_the_search_for_open() -> None:
    assert calls_of_open(ast.parse("x = 1\nwith open('f') as f: pass")) == [2]
    assert calls_of_open(ast.parse("webbrowser.open('f')")) == []
