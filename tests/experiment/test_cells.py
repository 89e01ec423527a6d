from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_world import config_of
from tarjih.experiment.cells import Cell, plan_cells
from tarjih.weighting import Weighting

WEIGHTING = Weighting(alpha=1.0, beta=1.0, gamma=1.0)
NAMES = st.text(alphabet="ab_./:-~ \u0623", min_size=1, max_size=6)


def test_base_is_run_once_and_trained_conditions_once_a_seed(plan: dict[str, Any]) -> None:
    config = config_of(plan, models=["a/one", "b/two"], seeds=[3, 5])
    assert [(cell.model, cell.condition, cell.seed) for cell in plan_cells(config)] == [
        (model, condition, seed)
        for model in ("a/one", "b/two")
        for condition, seeds in (("base", [3]), ("uniform", [3, 5]), ("strong", [3, 5]))
        for seed in seeds
    ]


def test_each_cell_has_its_condition_s_weighting(plan: dict[str, Any]) -> None:
    config = config_of(plan, conditions=["base", {"mine": {"alpha": 1, "beta": 2, "gamma": 4}}])
    base, mine = plan_cells(config)
    assert base.weighting is None
    assert mine.weighting is not None
    assert (mine.weighting.alpha, mine.weighting.beta, mine.weighting.gamma) == (1, 2, 4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/b", "a_b"),
        ("a/b", "a:b"),
        ("./model", "model"),
        ("/x/model", "x_model"),
        ("packaged:gemma-3-270m", "packaged_gemma-3-270m"),
        ("..", "."),
        (f"/{'long/' * 40}one", f"/{'long/' * 40}two"),
    ],
)
def test_models_of_like_names_have_folders_of_their_own(one: str, other: str) -> None:
    assert Cell(one, "base", None, 1).folder() != Cell(other, "base", None, 1).folder()


@given(st.lists(NAMES, min_size=2, max_size=12, unique=True))
def test_no_two_models_share_a_folder(models: list[str]) -> None:
    folders = {Cell(model, "uniform", WEIGHTING, 1).folder() for model in models}
    assert len(folders) == len(models)


@given(NAMES)
def test_a_cell_stays_in_the_results_folder(model: str) -> None:
    folder = Cell(model, "uniform", WEIGHTING, 1).folder()
    assert len(folder.parts) == 4
    assert (folder.parts[0], folder.parts[2:]) == ("cells", ("uniform", "seed-1"))
    assert not folder.parts[1].startswith(".")
    assert (Path("/results") / folder).resolve() == Path("/results") / folder


def test_a_packaged_model_s_folder_can_be_read() -> None:
    cell = Cell("packaged:gemma-3-270m", "base", None, 1)
    assert cell.folder() == Path("cells/packaged_gemma-3-270m/base")
    assert str(cell) == "packaged:gemma-3-270m, base"
    assert str(Cell("m", "strong", WEIGHTING, 4)) == "m, strong, seed 4"
