"""Data flows one way: a module imports from earlier stages or its own, never from later ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tarjih

PACKAGE = Path(tarjih.__file__).parent
ORDER: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("files",),
    ("records",),
    ("settings",),
    ("progress",),
    ("signature",),
    ("arabic",),
    ("data",),
    ("loss",),
    ("models",),
    ("severity",),
    ("weighting",),
    ("training",),
    ("generation",),
    ("evaluation",),
    ("report",),
    ("config",),
    ("experiment",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
WITHOUT_TORCH = [
    name for name in RANK if RANK[name] <= RANK["weighting"] and name not in {"loss", "models"}
]
# What an encoder is fine-tuned by; annotator.py imports it when something is fitted or scored.
OF_ENCODERS = ("checkpoint", "classifier", "fine_tune", "int8", "load", "objective", "scorer")
HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets")
MODULES = sorted(
    file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.stem != "__init__"
)


def stage_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


LIGHT = [
    file
    for file in MODULES
    if stage_of(file) in WITHOUT_TORCH
    and not (file.parent.name == "encoder" and file.stem in OF_ENCODERS)
]


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of everything that is imported below a node, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_module_level(tree: ast.Module) -> ast.Module:
    """The module without the bodies of its functions, which run only when they are called."""

    class WithoutFunctions(ast.NodeTransformer):
        def visit_FunctionDef(self, _: ast.FunctionDef) -> None:
            return None

    stripped = WithoutFunctions().visit(tree)
    assert isinstance(stripped, ast.Module)
    return stripped


def later_stages(source: str, stage: str) -> list[str]:
    """What a module of a stage imports although it comes later."""
    names = [name.split(".") for name in imported(ast.parse(source))]
    own = [parts[1] for parts in names if parts[0] == "tarjih" and len(parts) > 1]
    return [name for name in own if name != "__version__" and RANK[name] > RANK[stage]]


def heavy_at_import(source: str) -> list[str]:
    names = imported(at_module_level(ast.parse(source)))
    return [name for name in names if name.split(".")[0] in HEAVY]


def test_every_module_has_its_place_in_the_order() -> None:
    assert {stage_of(file) for file in MODULES} == set(RANK)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_to_earlier_stages(file: Path) -> None:
    assert later_stages(file.read_text(encoding="utf-8"), stage_of(file)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import tarjih.config",
        "from tarjih import config",
        "from tarjih.config import RunConfig",
        "def f():\n    from tarjih.config import RunConfig",
        "if True:\n    import tarjih.config as c",
    ],
)
def test_an_import_of_a_later_stage_is_found(source: str) -> None:
    assert later_stages(source, "data") == ["config"]
    assert later_stages(source, "experiment") == []


@pytest.mark.parametrize(
    "file",
    LIGHT,
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_stages_without_models_do_not_import_heavy_libraries(file: Path) -> None:
    assert heavy_at_import(file.read_text(encoding="utf-8")) == []


def test_a_heavy_import_is_found_unless_it_waits_for_a_call() -> None:
    assert heavy_at_import("try:\n    from torch import nn\nexcept OSError: pass") == ["torch.nn"]
    assert heavy_at_import("class A:\n    import torch") == ["torch"]
    assert heavy_at_import("def f():\n    import torch") == []


LISTS_HEAVY = f"print(sorted(set(sys.modules) & set({HEAVY!r})))"


def loaded_after(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{LISTS_HEAVY}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_heavy_libraries_wait_until_they_are_needed() -> None:
    modules = [
        ".".join(("tarjih", *file.relative_to(PACKAGE).with_suffix("").parts))
        for file in LIGHT
        if file.stem != "__init__"
    ]
    assert "tarjih.severity.annotate" in modules
    assert "tarjih.severity.encoder.annotator" in modules
    assert loaded_after(f"import tarjih, {', '.join(modules)}") == "[]"


def test_help_does_not_load_heavy_libraries() -> None:
    code = (
        "from tarjih.cli.app import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit as end:\n    assert not end.code"
    )
    assert loaded_after(code) == "[]"
