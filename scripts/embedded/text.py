"""The text tower: a small BERT and its WordPiece vocabulary, taught to put words where their classes lie."""

import time
from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch.nn.functional import normalize
from transformers import AlignTextConfig, AlignTextModel, BatchEncoding, BertTokenizer

from words import Lessons

VOCABULARY, MAX_PROMPT_TOKENS = 5000, 64
HIDDEN, LAYERS, HEADS, INNER = 256, 2, 4, 1024
STEPS, BATCH, PEAK_RATE = 3200, 192, 1e-3
BATCHES_SORTED = 8  # prompts of like length share a batch: half the padding


class TextTower(torch.nn.Module):
    """ALIGN's text model and its projection."""

    def __init__(self, size: int, words: int) -> None:
        """Build a tower that maps prompts over `words` word pieces to vectors of `size`."""
        super().__init__()
        self.text_model = AlignTextModel(text_config(words), add_pooling_layer=False)
        self.text_projection = torch.nn.Linear(HIDDEN, size)

    def forward(self, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
        """Unit vectors (N, D) for N tokenised prompts, as AlignModel makes them."""
        first = self.text_model(**tokens).last_hidden_state[:, 0]
        return normalize(self.text_projection(first), dim=1)


def text_config(words: int) -> AlignTextConfig:
    """The tower's configuration, for a vocabulary of `words` word pieces."""
    return AlignTextConfig(
        vocab_size=words,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=MAX_PROMPT_TOKENS,
        type_vocab_size=1,
    )


def train_tokenizer(texts: list[str]) -> BertTokenizer:
    """A lower-casing WordPiece tokenizer for `texts`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special))
    return BertTokenizer(vocab=raw.get_vocab(), do_lower_case=True, model_max_length=MAX_PROMPT_TOKENS)


def train(lessons: Lessons, tokenizer: BertTokenizer, steps: int = STEPS) -> TextTower:
    """Teach a new tower `steps` batches of lessons; about half an hour on two cores."""
    tower = TextTower(len(lessons.unknown), len(tokenizer))
    optimizer = torch.optim.AdamW(tower.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.1)
    started = time.monotonic()
    for step, (tokens, targets) in enumerate(_batches(lessons, tokenizer, steps)):
        loss = (1 - (tower(tokens) * targets).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: {loss.item():.4f} after {time.monotonic() - started:.0f} s", flush=True)
    return tower.eval()


def _batches(lessons: Lessons, tokenizer: BertTokenizer, count: int) -> Iterator[tuple[BatchEncoding, torch.Tensor]]:
    for _ in range(0, count, BATCHES_SORTED):
        texts, targets = lessons.batch(BATCH * BATCHES_SORTED)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for first in torch.randperm(BATCHES_SORTED).tolist():
            chosen = order[first * BATCH : (first + 1) * BATCH]
            tokens = tokenizer(
                [texts[index] for index in chosen], padding=True, return_tensors="pt", return_token_type_ids=False
            )
            yield tokens, targets[chosen]
