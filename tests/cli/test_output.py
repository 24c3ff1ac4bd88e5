"""Output that cannot be written does not end a program, and no name is read as markup."""

import os
import pty
import subprocess
import sys

import pytest
from rich.table import Table

from helpers.run_scripts import ROOT, run
from tagpose.cli.console import print_tables
from tagpose.visualization.curves import Curve, draw_curves

PROGRAM = [sys.executable, str(ROOT / "tests/programs/printing.py"), "result"]


def printed(folder, program=PROGRAM, environment=None, **streams):
    """Run the program, whose result must be there; what it printed."""
    ended = subprocess.run(
        program,
        cwd=folder,
        env=os.environ | (environment or {}),
        check=False,
        **streams,
    )
    assert ended.returncode == 0
    assert (folder / "result").read_text() == "the result"
    return ended


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_encoding_without_a_character_gets_an_escape(tmp_path, encoding):
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    ended = printed(tmp_path, environment={"PYTHONIOENCODING": encoding}, **both)
    shown = ended.stdout.decode(encoding)
    assert ("✓" if encoding == "utf-8" else "\\u2713") in shown
    assert "[bold]a[/]:smile:[/b]" in "".join(shown.split())  # lines are short
    assert "lost" not in shown


def test_a_disk_that_is_full_under_the_log_loses_the_log_and_says_how_much(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = printed(tmp_path, stdout=full, stderr=subprocess.PIPE)
        assert b"bytes of stdout were lost: No space left on device" in ended.stderr
        printed(tmp_path, stdout=full, stderr=full)


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_from_the_start_are_none_to_write_to(tmp_path, closed):
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *PROGRAM]
    printed(tmp_path, shell)


def test_a_pipe_whose_reader_has_ended_does_not_end_the_program(tmp_path):
    reads, writes = os.pipe()
    os.close(reads)
    printed(tmp_path, stdout=writes, stderr=writes)
    os.close(writes)


def test_a_terminal_that_disappears_does_not_end_the_program(tmp_path):
    master, terminal = pty.openpty()
    os.close(master)
    printed(tmp_path, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)


NAMES = ["[bold]a[/bold]", "[/b]", "[red]", ":smile:", "[link=x]y", "a [0, 1]", "\\[a]"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is(capsys, name):
    table = Table(name, title=name)
    table.add_row(name)
    print_tables(table, name)
    assert capsys.readouterr().out.count(name) == 4


def test_tables_are_printed_in_one_place_alone():
    files = [file for part in ("src", "scripts") for file in (ROOT / part).rglob("*.py")]
    consoles = [file.name for file in files if "rich.console" in file.read_text()]
    assert consoles == ["console.py"]


@pytest.mark.parametrize("name", ["[/b]", ":smile:"])
def test_a_file_with_brackets_in_its_name_is_scored(tmp_path, name):
    place = ROOT / "tests/reference/evaluate"
    (tmp_path / "[b]").mkdir()
    file = tmp_path / f"[b]/{name.replace('/', 'x')}.json"
    file.write_bytes((place / "synthetic_good_results.json").read_bytes())
    words = (f"results='{file}'", f"ground_truth={place / 'synthetic_gt.json'}")
    result = run("score", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"[b]/{file.name}" in "".join(result.stdout.split("\n"))


@pytest.mark.parametrize("name", ["costs $5 and $x_{$", "$\\frac{1}$", "a_b^c"])
def test_a_dollar_in_a_name_is_no_formula(tmp_path, name):
    draw_curves([Curve(name, [0, 1], [1, 2])], [], title=name, path=tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()
