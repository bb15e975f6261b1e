#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy torch transformers onnx onnxscript
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports small BERT, GPT-2 and Llama models with both PyTorch exporters and checks llmopt against PyTorch.

    onnx_exports.py [--out FOLDER] [--only REGEX] [--run PROGRAM]

Each export becomes a case with PyTorch's outputs, for several batch sizes, lengths and cache lengths. All must agree to 1e-4, in the
interpreter and compiled at -O0 and -O3.
"""
import os
import re
import sys
import warnings

import numpy
import torch
from torch.export import Dim
from transformers import (BertConfig, BertModel, DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM)

import onnx_cases

warnings.filterwarnings("ignore")
TOLERANCE = 1e-4


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        result = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return result.last_hidden_state, result.pooler_output


class Decoder(torch.nn.Module):
    """The cache as a flat list: key, value, key, value ..."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, past):
        cache = DynamicCache(config=self.model.config)
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        result = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache,
                            use_cache=True)
        return result.logits, *[t for layer in result.past_key_values.layers for t in (layer.keys, layer.values)]


def encoder_inputs(config, batch, length, generator):
    ids = torch.randint(0, config.vocab_size, (batch, length), generator=generator)
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[0, length - length // 3:] = 0  # padding on the right
    return ids, mask, torch.randint(0, 2, (batch, length), generator=generator)


def decoder_inputs(config, batch, length, past, generator):
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = [torch.randn(batch, heads, past, size, generator=generator) for _ in range(2 * config.num_hidden_layers)]
    mask = torch.ones(batch, past + length, dtype=torch.int64)
    positions = torch.arange(past, past + length).repeat(batch, 1)
    if batch > 2 and past + length > 2:  # one row padded on the left
        mask[0, :2] = 0
        positions[0] = (positions[0] - 2).clamp(min=1)
    return torch.randint(0, config.vocab_size, (batch, length), generator=generator), mask, positions, cache


def models():
    torch.manual_seed(0)
    small = dict(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                 max_position_embeddings=64)
    for attention in ("eager", "sdpa"):
        yield f"bert-{attention}", Encoder(BertModel(BertConfig(**small, attn_implementation=attention)).eval())
        yield f"gpt2-{attention}", Decoder(GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=64,
                                                                      attn_implementation=attention)).eval())
        yield f"llama-{attention}", Decoder(LlamaForCausalLM(LlamaConfig(**small, num_key_value_heads=2,
                                                                         attn_implementation=attention)).eval())
    yield "qwen2-sdpa", Decoder(Qwen2ForCausalLM(Qwen2Config(**small, num_key_value_heads=2, attn_implementation="sdpa")).eval())


def flat(inputs):
    return [t for value in inputs for t in (value if isinstance(value, list) else [value])]


def export(module, exporter, path):
    config = module.model.config
    generator = torch.Generator().manual_seed(1)
    is_encoder = isinstance(module, Encoder)
    example = encoder_inputs(config, 2, 5, generator) if is_encoder else decoder_inputs(config, 2, 3, 4, generator)
    if is_encoder:
        names, outputs = ["input_ids", "attention_mask", "token_type_ids"], ["last_hidden_state", "pooler_output"]
        axes = {name: {0: "batch", 1: "sequence"} for name in names + outputs[:1]} | {"pooler_output": {0: "batch"}}
        shapes = tuple({0: Dim("batch"), 1: Dim("sequence")} for _ in names)
    else:
        layers = config.num_hidden_layers
        cache = [f"{i}.{part}" for i in range(layers) for part in ("key", "value")]
        names = ["input_ids", "attention_mask", "position_ids"] + [f"past_key_values.{n}" for n in cache]
        outputs = ["logits"] + [f"present.{n}" for n in cache]
        axes = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "past + sequence"},
                "position_ids": {0: "batch", 1: "sequence"}, "logits": {0: "batch", 1: "sequence"}}
        axes |= {n: {0: "batch", 2: "past"} for n in names[3:]} | {n: {0: "batch", 2: "past + sequence"} for n in outputs[1:]}
        batch, sequence, past = Dim("batch"), Dim("sequence"), Dim("past")
        shapes = ({0: batch, 1: sequence}, {0: batch, 1: Dim.DYNAMIC}, {0: batch, 1: sequence}, [{0: batch, 2: past} for _ in example[3]])
    with torch.no_grad():
        if exporter == "dynamo":
            torch.onnx.export(module, example, path, input_names=names, output_names=outputs, dynamic_shapes=shapes, dynamo=True,
                              external_data=False, verbose=False)
        else:
            torch.onnx.export(module, example, path, input_names=names, output_names=outputs, dynamic_axes=axes, opset_version=17,
                              dynamo=False)


def write_sets(module, folder):
    config = module.model.config
    generator = torch.Generator().manual_seed(2)
    if isinstance(module, Encoder):
        sets = [encoder_inputs(config, batch, length, generator) for batch, length in ((1, 7), (3, 9))]
    else:
        sets = [decoder_inputs(config, *shape, generator) for shape in ((1, 7, 0), (2, 1, 9), (3, 4, 5))]
    for i, inputs in enumerate(sets):
        with torch.no_grad():
            outputs = module(*inputs)
        onnx_cases.write_set(folder, i, [numpy.ascontiguousarray(t) for t in flat(inputs)], [numpy.ascontiguousarray(t) for t in outputs])
    onnx_cases.write_tolerance(folder, TOLERANCE, TOLERANCE)


def make(out, only):
    for name, module in models():
        module.eval()
        for exporter in ("dynamo", "torchscript"):
            case = f"{name}-{exporter}"
            folder = os.path.join(out, case)
            if not re.search(only, case) or os.path.exists(os.path.join(folder, "tolerance.json")):
                continue
            os.makedirs(folder, exist_ok=True)
            export(module, exporter, os.path.join(folder, "model.onnx"))
            write_sets(module, folder)


if __name__ == "__main__":
    sys.exit(onnx_cases.main(__doc__, make, onnx_cases.expect_all))
