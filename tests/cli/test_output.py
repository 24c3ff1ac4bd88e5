"""Console output: tolerated write errors, and names that look like markup."""

import os
import pty
import subprocess
import sys

import pytest
from rich.table import Table

from helpers.run_scripts import ROOT, run
from tagpose.cli.console import print_tables, render_tables
from tagpose.visualization.learning_curves import Curve, draw_curves

PROGRAM = [sys.executable, str(ROOT / "tests/programs/printing.py"), "result"]


def run_printing(folder, program=PROGRAM, environment=None, **streams):
    """Run the program, check that it succeeds, and return the completed process."""
    process = subprocess.run(
        program,
        cwd=folder,
        env=os.environ | (environment or {}),
        check=False,
        **streams,
    )
    assert process.returncode == 0
    assert (folder / "result").read_text() == "the result"
    return process


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_the_encoding_lacks_are_escaped(tmp_path, encoding):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = run_printing(tmp_path, environment={"PYTHONIOENCODING": encoding}, **streams)
    output = process.stdout.decode(encoding)
    assert ("✓" if encoding == "utf-8" else "\\u2713") in output
    assert "[bold]a[/] :smile: [/b]" in output
    assert "lost" not in output


def test_a_full_disk_under_the_log_drops_output_and_reports_the_number_of_bytes(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = run_printing(tmp_path, stdout=full, stderr=subprocess.PIPE)
        assert b"bytes of stdout were lost: No space left on device" in process.stderr
        run_printing(tmp_path, stdout=full, stderr=full)


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_are_tolerated(tmp_path, closed):
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *PROGRAM]
    run_printing(tmp_path, shell)


def test_a_closed_pipe_does_not_end_the_program(tmp_path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    run_printing(tmp_path, stdout=write_end, stderr=write_end)
    os.close(write_end)


def test_a_closed_terminal_does_not_end_the_program(tmp_path):
    master, terminal = pty.openpty()
    os.close(master)
    run_printing(tmp_path, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)


NAMES = ["[bold]a[/bold]", "[/b]", "[red]", ":smile:", "[link=x]y", "a [0, 1]", "\\[a]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_without_markup(capsys, name):
    table = Table(name, title=name)
    table.add_row(name)
    print_tables(table, name)
    assert capsys.readouterr().out.count(name) == 4


@pytest.mark.parametrize("width", [20, 40, 200])
def test_a_title_is_printed_on_one_line_whatever_the_width(capsys, width):
    title = "runs/predict/2026-11-30_22-25-26_048127/results.json"
    table = Table("part", title=title)
    print_tables(table, table, width=width)
    assert capsys.readouterr().out.splitlines().count(title) == 2
    assert render_tables(table, width=width).splitlines()[0] == title


def test_only_the_console_module_uses_a_rich_console():
    files = [file for part in ("src", "scripts") for file in (ROOT / part).rglob("*.py")]
    consoles = [file.name for file in files if "rich.console" in file.read_text()]
    assert consoles == ["console.py"]


@pytest.mark.parametrize("name", ["[/b]", ":smile:"])
def test_a_file_name_with_brackets_can_be_scored(tmp_path, name):
    reference = ROOT / "tests/reference/evaluate"
    (tmp_path / "[b]").mkdir()
    file = tmp_path / f"[b]/{name.replace('/', 'x')}.json"
    file.write_bytes((reference / "synthetic_good_results.json").read_bytes())
    words = (f"results='{file}'", f"ground_truth={reference / 'synthetic_gt.json'}")
    result = run("score", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(file) in result.stdout.splitlines()


@pytest.mark.parametrize("name", ["costs $5 and $x_{$", "$\\frac{1}$", "a_b^c"])
def test_a_dollar_sign_in_a_title_is_not_parsed_as_a_formula(tmp_path, name):
    draw_curves([Curve(name, [0, 1], [1, 2])], [], title=name, path=tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()
