#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains the storyteller model on text of grammar.py and writes it as a Hugging Face folder.

Everything is seeded: the same versions, thread count and machine type give the same weights. Each story is seen once. With --resume the
weights so far are also written to the output folder every 250 steps.

    python3 train_storyteller.py --output storyteller --threads 2
"""
import argparse
import csv
import json
import math
import os
import random
import time

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


def stream(tokenizer, split, first, stories):
    """Token ids of many stories in a row. Three of four end with </s><s>; the others with an empty line, as in a file."""
    ids, chooser, text = [], random.Random(first), ""
    for seed in range(first, first + stories):
        text += grammar.story(seed, split)[0]
        if chooser.random() < 0.75:
            ids += [0] + tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids + [1]
            text = ""
        else:
            text += "\n"
    return torch.tensor(ids, dtype=torch.long)


def learning_rate(step, steps, peak, warmup):
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


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
    for tick in range(0, last + 1, max(1, round(last / 6 / 100) * 100)):
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="storyteller")
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--batch", type=int, default=8, help="rows of 512 tokens per step")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=150)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--polite", action="store_true", help="fall back to one thread while the machine has other work")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--resume", help="file to continue from when it exists and to save to now and then")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)

    tokenizer = make_tokenizer(grammar.story(seed, "train")[0] for seed in range(10000))
    heldout = stream(tokenizer, "heldout", 10**6, 300)
    heldout = heldout[:len(heldout) // CONTEXT * CONTEXT].view(-1, CONTEXT)[:48]

    model = LlamaForCausalLM(config())
    model.train()
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=args.rate, betas=(0.9, 0.95), eps=1e-8, fused=True)
    rows, step, story, begin = [], 0, 0, time.time()
    left = torch.empty(0, dtype=torch.long)
    if args.resume and os.path.exists(args.resume):
        state = torch.load(args.resume, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rows, step, story, left = state["rows"], state["step"], state["story"], state["left"]
    need = args.batch * CONTEXT
    running = []
    while step < args.steps:
        while len(left) < need:
            left = torch.cat([left, stream(tokenizer, "train", story, 200)])
            story += 200
        batch, left = left[:need].view(args.batch, CONTEXT), left[need:]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.rate, args.warmup)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running.append(loss.item())
        step += 1
        if args.polite and step % 10 == 0:
            torch.set_num_threads(1 if os.getloadavg()[0] > torch.get_num_threads() + 0.6 else args.threads)
        if step % 25 == 0 or step == args.steps:
            held = heldout_loss(model, heldout) if step % 250 == 0 or step == args.steps else ""
            rows.append({"step": step, "tokens": step * need, "train_loss": round(sum(running) / len(running), 4),
                         "heldout_loss": held if held == "" else round(held, 4), "rate": round(optimizer.param_groups[0]["lr"], 6)})
            running = []
            print(json.dumps(rows[-1] | {"seconds": round(time.time() - begin)}), flush=True)
            if args.resume and step % 250 == 0:
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rows": rows, "step": step,
                            "story": story, "left": left.clone()}, args.resume)
                save(model, tokenizer, args.output)
    save(model, tokenizer, args.output)
    with open(os.path.join(args.output, "curve.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_plot(os.path.join(args.output, "curve.svg"), rows)
    print(f"{story} stories used, {time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
