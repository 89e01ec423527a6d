from __future__ import annotations

from pathlib import Path

import pytest

from tarjih.errors import SettingsError
from tarjih.training import train as module
from tarjih.training.train import train

from .conftest import MakeJob


def test_an_unknown_tracker_is_one_clear_error_before_a_model_is_loaded(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_trainable", lambda *args: pytest.fail("loaded"))
    with pytest.raises(SettingsError) as caught:
        train(make_job(report_to=["tensorboard", "wandbb", "comet"]), tmp_path / "run")
    lines = str(caught.value).splitlines()
    assert lines[0] == ("training.report_to names trackers that are not installed: wandbb, comet")
    assert "choose from: tensorboard" in lines[1]
    assert lines[1].count("tensorboard") == 1
    assert not (tmp_path / "run").exists()
