"""The shape of the package: who may import whom, where the doors are, how large things get, what it loads.

Each rule is a function from a module to its complaints, and each is shown to bite on a bad sample.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from glm_agent.replay import Server

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "glm_agent"
BUNDLED = PACKAGE / "replay" / "demo"  # another repository, which we carry along

# A module imports from lower rows, and in its own row from the left only.
RANKS = (
    ("glm_agent", "types", "errors", "outcome"),
    ("shape", "failpoints", "history", "records", "text", "paths", "globs", "truncate", "redact", "usage"),
    ("settings", "gitrules", "changes", "secrets", "spelling", "veil", "durable", "descent"),
    ("rows", "dialects", "parameters", "sse", "model", "recover", "context", "budget"),
    ("verdicts", "retry", "watchdog", "structured", "policy", "patching"),
    ("sections", "bounds", "weakening", "byproducts", "reported", "citations"),
    ("process",),
    (
        "gitdir",
        "git",
        "repository",
        "intents",
        "writing",
        "recovery",
        "workspace",
        "hiding",
        "sandbox",
        "files",
        "config",
    ),
    ("transport", "slots", "replay", "render"),
    (
        "makeshift",
        "snapshot",
        "large",
        "state",
        "swap",
        "restore",
        "keeping",
        "reversal",
        "lock",
        "replica",
        "delivery",
        "journal",
    ),
    ("exports", "instructions"),
    ("client", "tools", "verify"),
    ("agent",),
    ("commands",),
    ("options", "cli"),
    ("__main__",),
)
PLACES = {name: (row, column) for row, names in enumerate(RANKS) for column, name in enumerate(names)}

# What a module must not know although it ranks lower.
STRANGERS = {
    "agent": {"workspace", "git", "process", "transport", "client", "render", "journal", "replay"},
    "tools": {"transport", "render", "journal", "config", "replay"},
    "render": {"workspace", "git", "process", "transport", "config", "replay"},
    "cli": {"replay"},
    "__main__": {"replay"},
}

HOMES = {
    "openai": {"transport"},
    "httpx": {"transport"},
    "httpx2": {"transport"},
    "typer": {"cli", "options"},
    "click": {"cli", "options"},
    "rich": {"render"},
    "git": set[str](),  # GitPython: its import runs git, and its object store is out of favour upstream
    "gitdb": set[str](),
    "unidiff": {"patching"},
    "pydantic": set[str](),
    "jsonschema": {"structured"},
    "referencing": {"structured"},
}
SLOW_AT_THE_TOP = {
    *("asyncio", "concurrent.futures", "difflib", "importlib.metadata", "inspect", "logging", "tempfile"),
    *("openai", "httpx2", "rich", "unidiff"),
}
ON_DEMAND = {"commands.demo", "render.live"}  # modules that are imported only where they are used
REPLAYING = ("commands.demo", "commands.record", "commands.replay", "commands.rerun")
PROCESSES = {"git", "process", "tools.search", "commands.demo"}
ENVIRONMENT = {"config", "process", "git", "transport", "__main__"}
LINES_ARE_LF = ("patching", "workspace", "writing", "text", "tools")


class Module(NamedTuple):
    name: str  # below glm_agent, dotted
    source: str
    tree: ast.Module
    is_package: bool = False

    @property
    def part(self) -> str:
        """Its name in the table of ranks."""
        return self.name.partition(".")[0]


class Import(NamedTuple):
    line: int
    name: str  # absolute, dotted
    at_top: bool


Rule = Callable[[Module], Iterator[str]]


@cache
def modules() -> list[Module]:
    found: list[Module] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if BUNDLED not in path.parents:
            names = path.relative_to(PACKAGE).with_suffix("").parts
            is_package = names[-1] == "__init__"
            name = ".".join(names[:-1] if is_package else names) or "glm_agent"
            source = path.read_text("utf-8")
            found.append(Module(name, source, ast.parse(source), is_package))
    return found


def sample(name: str, source: str) -> Module:
    return Module(name, source, ast.parse(source))


@cache
def imports(module: Module) -> list[Import]:
    return list(_imports(module))


def _imports(module: Module) -> Iterator[Import]:
    later = {id(node) for function in _functions(module) for node in ast.walk(function)}
    for node in ast.walk(module.tree):
        at_top = id(node) not in later
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            for (
                alias
            ) in node.names:  # `from . import git` names a module, `from .git import run` a thing in it
                yield Import(node.lineno, f"{base}.{alias.name}", at_top)


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    here = [] if module.name == "glm_agent" else module.name.split(".")
    package = ["glm_agent", *(here if module.is_package else here[:-1])]
    package = package[: len(package) - (node.level - 1)]
    return ".".join([*package, node.module] if node.module else package)


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _parts(module: Module) -> Iterator[tuple[int, str]]:
    """The parts of our own that a module imports."""
    for found in imports(module):
        if found.name.startswith("glm_agent."):
            part = found.name.split(".")[1]
            yield found.line, part if part in PLACES or (PACKAGE / f"{part}.py").exists() else "glm_agent"


# The rules


def has_a_rank(module: Module) -> Iterator[str]:
    if module.part not in PLACES:
        yield f"{module.name} has no rank; put it into RANKS of tests/test_architecture.py"


def imports_downwards(module: Module) -> Iterator[str]:
    if module.part not in PLACES or module.name.endswith(".__main__"):
        return
    row, column = PLACES[module.part]
    for line, part in _parts(module):
        if part == module.part or part not in PLACES:
            continue  # an unknown one is has_a_rank's
        other = PLACES[part]
        if other[0] > row or (other[0] == row and other[1] > column):
            yield f"{module.name}:{line} imports {part}, which ranks above it"


def keeps_to_its_acquaintances(module: Module) -> Iterator[str]:
    strangers = STRANGERS.get(module.part, set())
    yield from (
        f"{module.name}:{line} must not know {part}" for line, part in _parts(module) if part in strangers
    )


def only_few_replay(module: Module) -> Iterator[str]:
    if module.name not in REPLAYING and module.part != "replay":
        lines = (line for line, part in _parts(module) if part == "replay")
        yield from (f"{module.name}:{line} imports replay; only {', '.join(REPLAYING)} may" for line in lines)


def heavy_libraries_have_one_home(module: Module) -> Iterator[str]:
    for found in imports(module):
        library = found.name.partition(".")[0]
        if library in HOMES and module.part not in HOMES[library]:
            home = " and ".join(sorted(HOMES[library])) or "the tests"
            yield f"{module.name}:{found.line} imports {library}, whose home is {home}"


def starts_cheaply(module: Module) -> Iterator[str]:
    if module.part == "replay" or module.name in ON_DEMAND:
        return
    for found in imports(module):
        slow = [name for name in SLOW_AT_THE_TOP if f"{found.name}.".startswith(f"{name}.")]
        if slow and found.at_top and not _is_for_types_only(module, found.line):
            yield f"{module.name}:{found.line} imports {slow[0]} at module level; do it where it is needed"


def _is_for_types_only(module: Module, line: int) -> bool:
    blocks = [node for node in module.tree.body if isinstance(node, ast.If)]
    guards = [node for node in blocks if ast.unparse(node.test).endswith("TYPE_CHECKING")]
    return any(node.lineno < line <= (node.end_lineno or 0) for node in guards)


def is_small(module: Module) -> Iterator[str]:
    limit = 119 if module.name == "agent" else 400
    if (lines := module.source.count("\n")) > limit:
        yield f"{module.name} has {lines} lines, and may have {limit}"
    for function in _functions(module):
        first = function.body[0].lineno if module.name == "cli" else function.lineno
        if (lines := (function.end_lineno or 0) - first + 1) > 40:
            yield f"{module.name}:{function.lineno} {function.name} has {lines} lines, and may have 40"


def uses_its_own_doors(module: Module) -> Iterator[str]:
    """print, subprocess, a shell, and the environment: each has its places."""
    may_print = module.part == "render" or module.name.endswith("__main__")
    for node in ast.walk(module.tree):
        text = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute | ast.keyword) else ""
        where = f"{module.name}:{getattr(node, 'lineno', 0)}"
        if text == "print" and not may_print:
            yield f"{where} prints; only render and __main__ may"
        if text in ("os.environ", "os.environb", "os.getenv") and module.name not in ENVIRONMENT:
            yield f"{where} reads the environment; only {', '.join(sorted(ENVIRONMENT))} may"
        if text == "shell=True" or text in ("os.system", "os.popen"):
            yield f"{where} uses a shell behind our back; say /bin/sh -c"
    for found in imports(module):
        name = found.name
        if name.split(".")[0] == "subprocess" and module.name not in PROCESSES:
            yield f"{module.name}:{found.line} imports subprocess; only {', '.join(sorted(PROCESSES))} may"
        if name in ("os.environ", "os.environb", "os.getenv", "os.system", "os.popen"):
            yield f"{module.name}:{found.line} imports {name} by name, where no rule sees it"


def splits_lines_at_lf_only(module: Module) -> Iterator[str]:
    if module.part not in LINES_ARE_LF:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "splitlines":
            yield f"{module.name}:{node.lineno} uses splitlines, which splits at U+2028 too; split at \\n"


BITES: list[tuple[Rule, str, str]] = [
    (has_a_rank, "novelty", ""),
    (imports_downwards, "outcome", "from .errors import ToolError\nfrom .agent import Agent"),
    (imports_downwards, "model", "from . import patching"),
    (imports_downwards, "tools.read", "def f():\n    from ..agent import Agent"),
    (imports_downwards, "sse", "import glm_agent.cli"),
    (keeps_to_its_acquaintances, "agent", "from .workspace import Workspace"),
    (keeps_to_its_acquaintances, "agent", "from . import transport"),
    (only_few_replay, "commands.fix", "from ..replay import Server"),
    (heavy_libraries_have_one_home, "client", "def f():\n    import openai"),
    (heavy_libraries_have_one_home, "commands.fix", "from typer.core import Group"),
    (heavy_libraries_have_one_home, "schemas", "import jsonschema"),
    (starts_cheaply, "transport", "import openai"),
    (starts_cheaply, "workspace", "from concurrent import futures"),
    (starts_cheaply, "workspace", "try:\n    import logging.handlers\nexcept ImportError:\n    pass"),
    (is_small, "agent", "\n" * 120),
    (is_small, "model", "\n" * 401),
    (is_small, "model", "def f(\n  a,\n):\n" + "    a\n" * 38),
    (is_small, "cli", "def f(\n  a,\n):\n" + "    a\n" * 41),
    (uses_its_own_doors, "agent", "print(1)"),
    (uses_its_own_doors, "agent", "say = print"),
    (uses_its_own_doors, "agent", "import os\nos.environ['A']"),
    (uses_its_own_doors, "agent", "from os import environ"),
    (uses_its_own_doors, "agent", "import subprocess"),
    (uses_its_own_doors, "agent", "from subprocess import run"),
    (uses_its_own_doors, "process", "run('ls', shell=True)"),
    (uses_its_own_doors, "process", "import os\nos.system('ls')"),
    (splits_lines_at_lf_only, "patching.parse", "lines = text.splitlines()"),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in BITES))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module(rule: Rule) -> None:
    complaints = [complaint for module in modules() for complaint in rule(module)]
    assert complaints == [], "\n".join(complaints)


@pytest.mark.parametrize(("rule", "name", "source"), BITES)
def test_a_rule_bites(rule: Rule, name: str, source: str) -> None:
    assert len(list(rule(sample(name, source)))) == 1


def test_rules_let_pass_what_is_right() -> None:
    good = [
        sample("model", "from . import sse\nfrom .types import Json"),
        sample("transport", "def connect():\n    import openai"),
        sample("transport", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import openai"),
        sample("cli", "import typer\ndef f(\n" + "  a,\n" * 50 + "):\n    return a"),
        sample("render.plain", "print(1)"),
        sample("commands.demo", "from ..replay import Server\nimport subprocess"),
        sample("client", "from . import __version__"),
    ]
    assert [complaint for module in good for rule in RULES for complaint in rule(module)] == []


# What starting loads


def loaded(folder: Path, *argv: str) -> set[str]:
    """The modules that `glm-agent argv…` imports when nobody watches: ours, and third parties' top names."""
    if not (PACKAGE / "__main__.py").exists() or not (PACKAGE / "cli.py").exists():
        pytest.fail("glm_agent/__main__.py and glm_agent/cli.py are needed to start the program")
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), "GLM_AGENT_API_KEY": "none"}
    before = _imported(folder, environment, "-c", "pass")  # what the Python of a distribution brings
    return _imported(folder, environment, "-m", "glm_agent", *argv) - before


def _imported(folder: Path, environment: Mapping[str, str], *argv: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *argv],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=20,
        check=False,
    )
    said = "\n".join(line for line in run.stderr.split("\n") if not line.startswith("import time:"))
    assert run.returncode == 0, said
    names = {match[1] for match in re.finditer(r"^import time: .*\| +(\S+)$", run.stderr, re.MULTILINE)}
    return {name for name in names if _is_worth_naming(name)}


def _is_worth_naming(name: str) -> bool:
    top = name.partition(".")[0]
    if top == "glm_agent":
        return True
    is_sites = top.startswith(("_", "sitecustomize", "usercustomize", "distutils-"))  # what .pth files bring
    return name == top and not is_sites and top not in sys.stdlib_module_names


def test_version_loads_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "--version") == {"glm_agent"}


def test_help_loads_no_provider_no_terminal_and_no_part_that_works(tmp_path: Path) -> None:
    names = loaded(tmp_path, "--help")
    assert "typer" in names
    assert names & {"openai", "httpx2", "pydantic", "rich", "unidiff"} == set()
    assert (
        names & {f"glm_agent.{part}" for part in ("agent", "client", "transport", "tools", "patching")}
        == set()
    )


def test_a_piped_run_loads_the_sdk_but_no_terminal_no_patcher_and_no_replay(tmp_path: Path) -> None:
    with Server([{"content": "Because."}]) as server:
        names = loaded(tmp_path, "ask", "Why?", "--provider", "custom", "--base-url", server.url)
    assert len(server.requests) == 1
    assert {"openai", "httpx2", "typer", "glm_agent.agent"} <= names
    assert names & {"rich", "unidiff", "git", "glm_agent.replay", "glm_agent.render.live"} == set()
