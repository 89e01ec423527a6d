import pytest, torch
from tiny_models import ARCHITECTURES
@pytest.mark.parametrize("a", ARCHITECTURES)
def test_a(a, tiny_model):
    m = tiny_model(a)
    print(a, m.model.config.vocab_size, sum(p.numel() for p in m.model.parameters()))
    ids = m.tokenizer("عندي صداع", return_tensors="pt")
    print(ids["input_ids"], m.model(**ids).logits.std())
    print(m.tokenizer.encode("a<eos>b", add_special_tokens=False, split_special_tokens=True))
