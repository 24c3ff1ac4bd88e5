"""The documentation builds offline, its commands compose, and its Python examples run."""

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from tagpose.cli.program import parse_command_line

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
RECIPES = dict(re.findall(r"^([a-z_-]+):.*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), re.M))
BLOCK = re.compile(r"^( *)```(\w+)(?: title=\"([^\"\n]*)\")?\n(.*?)^\1```$", re.M | re.S)
DIRECTORY = "--config-dir="


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """Titles and contents of a page's blocks of code."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(title, content) for _, kind, title, content in found if kind == language]


def commands(page):
    """What a page tells people to type, word by word; the README indents it."""
    text = "".join(content for _, content in blocks(page, "sh"))
    text += "".join(re.findall(r"^    (.*\n)", page.read_text(encoding="utf-8"), re.M))
    lines = text.replace("\\\n", " ").splitlines()
    started = [line for line in lines if re.match(r"make |tagpose |python scripts/", line)]
    return [shlex.split(line, comments=True) for line in started]


def program_of(command):
    """The program that a command runs, if it is one, and the arguments that the program gets."""
    if command[0] == "python":
        return Path(command[1]).stem, command[2:]
    if command[0] == "tagpose":
        length = 2 if command[1] == "data" else 1
        return "_".join(command[1 : 1 + length]), command[1 + length :]
    target, *words = command[1:]
    verb = re.search(r"\$\(TAGPOSE\) (data \w+|\w+)", RECIPES[target])
    more = [w for word in words if word.startswith("ARGS=") for w in word[5:].split()]
    given = [word for word in words if word[:5] != "ARGS="]
    stage = target in ("pretrain", "finetune") and not any("experiment=" in w for w in given)
    words = [*([f"experiment={target}"] if stage else []), *given, *more]
    return verb and verb[1].replace(" ", "_"), words


def overrides(words, folder):
    """The words that Hydra composes; a folder of configuration is looked for below another."""
    plain = [word for word in words if word.startswith("~") or re.match(r"[^-=]+=", word)]
    own = [word.removeprefix(DIRECTORY) for word in words if word.startswith(DIRECTORY)]
    own += ["conf"] * (folder / "conf").is_dir()  # files that a page adds to those of the project
    return [*plain, *(f"hydra.searchpath=[file://{folder / one}]" for one in own)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the documentation as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(
        build, cwd=ROOT, env=os.environ | quiet, text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WARNING" not in result.stderr
    return folder


def test_every_page_is_built_and_fetches_nothing(site):
    built = {str(page.relative_to(site).with_suffix("")) for page in site.rglob("*.html")}
    assert built >= {name_of(page)[5:-3] for page in PAGES if "docs" in page.parts}
    assert (site / "search" / "search_index.js").exists()
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"?([^\" >]+)", text)
        assert [address for address in fetched if "//" in address] == []


def test_the_comments_behind_fields_are_shown(site):
    page = (site / "api" / "structures.html").read_text(encoding="utf-8")
    assert "[B, L, G, h, w]; L is 1 " in page


def test_equations_are_rendered_by_files_of_the_site(site):
    page = (site / "glossary.html").read_text(encoding="utf-8")
    assert page.count('class="arithmatex"') > 2
    assert {"assets/katex/katex.min.js", "assets/math.js"} <= {*re.findall(r'src="([^"]+)"', page)}
    style = (site / "assets" / "katex" / "katex.min.css").read_text(encoding="utf-8")
    fonts = re.findall(r"url\(([^)]+)\)", style)
    assert len(fonts) == 20
    assert all((site / "assets" / "katex" / font).exists() for font in fonts)


def test_links_to_source_files_are_shown_as_paths(site):
    page = (site / "architecture.html").read_text(encoding="utf-8")
    assert "<code>training/callbacks/nan_guard.py</code>" in page
    assert "../src" not in page


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_target_and_file_that_a_page_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    named = {*re.findall(r"`make ([a-z_-]+)", text), *(c[1] for c in commands(page) if "make" in c)}
    assert named <= RECIPES.keys()
    linked = re.findall(r"\]\(([^)#]+)", text)
    local = [link for link in linked if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_composes(page, tmp_path):
    for title, content in blocks(page, "yaml"):
        file = tmp_path / title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    for command in commands(page):
        program, words = program_of(command)
        source = (ROOT / "src/tagpose/cli" / f"{program}.py").read_text() if program else ""
        root = re.search(r"@program\(\"(\w+)\"", source)
        if root:
            cfg = compose_once(root[1], *overrides(words, tmp_path))
            HydraConfig.instance().set_config(cfg)
            if root[1] in ("train", "reproduce") and "--cfg" not in words:
                assert images_suit(cfg, root[1]), shlex.join(command)


@cache
def compose_once(root, *words):
    """Compose a configuration; several pages have the same commands."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(root, parse_command_line(words), return_hydra_config=True)


def images_suit(cfg, root):
    """Whether the learning rate of a training is for the images of its steps, or follows a rule."""
    trainer = cfg.trainer
    steps = trainer.devices * trainer.get("num_nodes", 1) * trainer.accumulate_grad_batches
    if root == "reproduce":  # of published models, which have 8 batches a step
        return steps == 8 or cfg.hydra.runtime.choices.experiment == "smoke"
    scaling = cfg.optimization.lr_scaling
    return scaling.rule != "none" or cfg.data.batch_size * steps == scaling.base_batch_size


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_of_a_page_compiles_and_finds_what_it_imports(page):
    for _, content in blocks(page, "python"):
        lines = ast.parse(content).body
        imports = [line for line in lines if isinstance(line, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), str(page), "exec"), {})


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "api").glob("*.md")), ids=name_of)
@pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")
def test_examples_of_the_api_print_what_they_show(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = [content for _, content in blocks(page, "pycon")]
    assert examples
    for number, example in enumerate(examples):
        test = doctest.DocTestParser().get_doctest(example, {}, f"{page.name}:{number}", None, 0)
        messages = []
        results = doctest.DocTestRunner().run(test, out=messages.append)
        assert not results.failed, "".join(messages)
