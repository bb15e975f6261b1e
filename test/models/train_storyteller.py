#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains the storyteller model on text of grammar.py and writes it as a Hugging Face folder.

    python3 train_storyteller.py --output storyteller --threads 2
    python3 train_storyteller.py --output storyteller --stages stories --resume storyteller/state.pt

Training has stages (see STAGES): first the sentences, then the habit of copying names from earlier in the text, then
whole stories. Everything is seeded.
"""
import argparse
import csv
import json
import math
import os
import random
import time
from dataclasses import dataclass

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import grammar

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
CONTEXT = 512
VOCABULARY = 2048
# The split of Llama 3 and Qwen 2, one digit at a time so that sums can be learned.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def config():
    # Widths are multiples of 256, so that every weight format fits, those with blocks of 256 included.
    return LlamaConfig(vocab_size=VOCABULARY, hidden_size=256, intermediate_size=512, num_hidden_layers=5,
                       num_attention_heads=8, num_key_value_heads=2, head_dim=32, max_position_embeddings=CONTEXT,
                       rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
                       tie_word_embeddings=True, attention_bias=False, mlp_bias=False, initializer_range=0.02,
                       bos_token_id=0, eos_token_id=1, pad_token_id=2)


def make_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD,
                                   model_max_length=CONTEXT, clean_up_tokenization_spaces=False)


def encoded(tokenizer, text):
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


def stream(tokenizer, split, first, stories):
    """Token ids of many stories in a row. Three of four end with </s><s>; the others with an empty line, as in a file."""
    ids, chooser, text = [], random.Random(first), ""
    for seed in range(first, first + stories):
        text += grammar.story(seed, split)[0]
        if chooser.random() < 0.75:
            ids += [0] + encoded(tokenizer, text) + [1]
            text = ""
        else:
            text += "\n"
    return torch.tensor(ids, dtype=torch.long)


class Texts:
    """Batches of training text. No story is used twice."""

    def __init__(self, tokenizer, first, seed):
        self.tokenizer, self.seed, self.random = tokenizer, first, random.Random(seed)
        self.left = torch.empty(0, dtype=torch.long)

    def packed(self, tokens):
        """Windows cut from the stream, in which a story is seen after others."""
        while len(self.left) < tokens:
            self.left = torch.cat([self.left, stream(self.tokenizer, "train", self.seed, 200)])
            self.seed += 200
        batch, self.left = self.left[:tokens].view(-1, CONTEXT), self.left[tokens:]
        return batch, batch

    def rows(self, tokens, write):
        """One text per row, so that every name in sight belongs to it."""
        rows, size = [], 0
        while size < tokens:
            rows.append(([0] + encoded(self.tokenizer, write(self.seed)) + [1])[:CONTEXT])
            size += len(rows[-1])
            self.seed += 1
        ids = torch.full((len(rows), max(map(len, rows))), 2)
        labels = torch.full_like(ids, -100)
        for index, row in enumerate(rows):
            ids[index, :len(row)] = labels[index, :len(row)] = torch.tensor(row)
        return ids, labels

    def batch(self, tokens, packed, drills):
        which = self.random.random()
        if which < packed:
            return self.packed(tokens)
        if which < packed + drills:
            return self.rows(tokens, lambda seed: grammar.drill(seed, "train"))
        return self.rows(tokens, lambda seed: grammar.story(seed, "train")[0])


# What is done to the weights between stages -----------------------------------------------------------------------------

@torch.no_grad()
def scale_embeddings(model, factor=16.0):
    """Tied embeddings start small, and the first layers drown them: later layers cannot see which name a word was. Larger
    rows with a smaller last norm leave the logits as they are, and the word stays visible all the way up."""
    model.model.embed_tokens.weight *= factor
    model.model.norm.weight /= factor


@torch.no_grad()
def spread_embeddings(model, size=1.6):
    """Rare words have short rows that hardly differ. Noise makes them as long as the others, and different."""
    rows = model.model.embed_tokens.weight
    rows += torch.randn_like(rows) * (size ** 2 - rows.pow(2).mean(1, keepdim=True)).clamp_min(0).sqrt()


@torch.no_grad()
def copy_heads(model, gain):
    """Starts the second key-value head of layers 2 and 3 as a copier: query = key, so it looks at words of the kind that is about
    to come, and output = value transposed, so what it sees becomes more likely. Only the slow rope pairs keep full weight."""
    for layer in (2, 3):
        attention = model.model.layers[layer].self_attn
        value = torch.linalg.qr(torch.randn(256, 32))[0].T
        key = torch.linalg.qr(torch.randn(256, 32))[0].T
        key[0:6] *= 0.2
        key[16:22] *= 0.2
        attention.v_proj.weight[32:64] = value
        attention.k_proj.weight[32:64] = 1.3 * key
        for head in range(4, 8):
            part = slice(32 * head, 32 * head + 32)
            attention.q_proj.weight[part] = 1.3 * key + 0.02 * torch.randn(32, 256)
            attention.o_proj.weight[:, part] = gain * value.T


# -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    steps: int
    tokens: int                 # per step
    packed: float               # share of steps on windows of the stream
    drills: float               # share of steps on grammar.drill(); the other steps are on one story per row
    rate: float                 # peak learning rate
    warmup: int
    horizon: int = 0            # the cosine ends here; 0 keeps the rate
    decay: float = 0.0          # weight decay of the matrices
    beta2: float = 0.98
    fade: bool = False          # the share of drills falls, to zero at the horizon
    prepare: tuple = ()

    def rate_at(self, step):
        if step < self.warmup or not self.horizon:
            return self.rate * min(1.0, (step + 1) / self.warmup)
        progress = (step - self.warmup) / (self.horizon - self.warmup)
        return self.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


STAGES = {
    "sentences": Stage(steps=1750, tokens=4096, packed=1.0, drills=0.0, rate=3e-3, warmup=150, horizon=2200, decay=0.1, beta2=0.95),
    "scaled": Stage(steps=150, tokens=2048, packed=0.0, drills=0.7, rate=1.5e-3, warmup=30,
                    prepare=(scale_embeddings, lambda model: copy_heads(model, 0.8))),
    "copying": Stage(steps=200, tokens=2048, packed=0.0, drills=0.7, rate=1.5e-3, warmup=30,
                     prepare=(spread_embeddings, lambda model: copy_heads(model, 1.2))),
    "stories": Stage(steps=750, tokens=2048, packed=0.2, drills=0.4, rate=1.5e-3, warmup=30, horizon=900, fade=True),
}


@torch.no_grad()
def heldout_loss(model, windows):
    model.eval()
    loss = sum(model(input_ids=part, labels=part).loss.item() * len(part) for part in windows.split(8)) / len(windows)
    model.train()
    return loss


def write_plot(path, rows):
    """The loss curve as an SVG of two lines."""
    width, height, left, bottom, top = 720, 360, 60, 40, 20
    last = max(row["step"] for row in rows)
    low, high = 0.0, 4.0

    def point(step, loss):
        x = left + step / last * (width - left - 20)
        y = top + (high - min(loss, high)) / (high - low) * (height - top - bottom)
        return f"{x:.1f},{y:.1f}"

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for tick in range(int(high) + 1):
        x, y = point(0, tick).split(",")
        lines.append(f'<path d="M{x} {y}H{width - 20}" stroke="#ddd"/><text x="{left - 8}" y="{float(y) + 4}" text-anchor="end">{tick}</text>')
    for tick in range(0, last + 1, max(100, round(last / 6 / 100) * 100)):
        x, y = point(tick, 0).split(",")
        lines.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{tick}</text>')
    for key, colour, label, y in (("train_loss", "#9bb7d4", "training loss", 40), ("heldout_loss", "#c0392b", "held-out loss", 58)):
        points = " ".join(point(row["step"], row[key]) for row in rows if row[key] != "")
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        lines.append(f'<text x="{width - 140}" y="{y}" fill="{colour}">{label}</text>')
    lines.append(f'<text x="{width / 2}" y="{height - 4}" text-anchor="middle">step</text>')
    lines.append(f'<text x="14" y="{height / 2}" transform="rotate(-90 14 {height / 2})" text-anchor="middle">nats per token</text></svg>')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def save(model, tokenizer, folder):
    """Writes bf16 weights without touching the f32 ones in training."""
    copy = LlamaForCausalLM(config())
    copy.load_state_dict(model.state_dict())
    copy = copy.to(torch.bfloat16)
    copy.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=2, max_new_tokens=300)
    copy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train(model, stage, name, args, tokenizer, heldout, state):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": stage.decay}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=stage.rate, betas=(0.9, stage.beta2), fused=True)
    texts = Texts(tokenizer, state["seed"], args.seed)
    running, begin = [], time.time()
    for step in range(1, stage.steps + 1):
        ids, labels = texts.batch(stage.tokens, stage.packed, stage.drills * (1 - step / stage.horizon if stage.fade else 1))
        for group in optimizer.param_groups:
            group["lr"] = stage.rate_at(step - 1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running.append(loss.item())
        state["step"] += 1
        state["tokens"] += stage.tokens
        if step % 25 == 0 or step == stage.steps:
            held = round(heldout_loss(model, heldout), 4) if step % 150 == 0 or step == stage.steps else ""
            state["rows"].append({"stage": name, "step": state["step"], "tokens": state["tokens"],
                                  "train_loss": round(sum(running) / len(running), 4), "heldout_loss": held,
                                  "rate": round(optimizer.param_groups[0]["lr"], 6)})
            running = []
            print(json.dumps(state["rows"][-1] | {"seconds": round(time.time() - begin)}), flush=True)
            if held:
                torch.save(state | {"model": model.state_dict(), "seed": texts.seed}, os.path.join(args.output, "state.pt"))
    state["seed"] = texts.seed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="storyteller")
    parser.add_argument("--stages", default=",".join(STAGES), help="default: %(default)s")
    parser.add_argument("--resume", help="state.pt of an earlier stage")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    os.makedirs(args.output, exist_ok=True)

    tokenizer = make_tokenizer(grammar.story(seed, "train")[0] for seed in range(10000))
    heldout = stream(tokenizer, "heldout", 10**6, 300)
    heldout = heldout[:len(heldout) // CONTEXT * CONTEXT].view(-1, CONTEXT)[:48]
    model = LlamaForCausalLM(config())
    model.train()
    state = {"step": 0, "tokens": 0, "seed": 0, "rows": []}
    if args.resume:
        state = torch.load(args.resume, weights_only=True)
        model.load_state_dict(state.pop("model"))
    for name in args.stages.split(","):
        for change in STAGES[name].prepare:
            change(model)
        train(model, STAGES[name], name, args, tokenizer, heldout, state)

    save(model, tokenizer, args.output)
    with open(os.path.join(args.output, "curve.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=state["rows"][0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(state["rows"])
    write_plot(os.path.join(args.output, "curve.svg"), state["rows"])
    print(f"{state['step']} steps, {state['tokens']} tokens")


if __name__ == "__main__":
    main()
