#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy torch transformers safetensors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hugging Face folders of e4m3 weights (compressed-tensors, and quant_method fp8), against transformers with the same arithmetic in its linear layers.

    hf_float8.py

A small Llama whose linear layers are rounded here to e4m3, by matrices, by outputs or by blocks, with inputs rounded by a stored scale, by each token's largest
element, or not at all. On the CPU, and on sm_90 on the stand-in driver, where products are made of e4m3. What is not understood, or not there, has to be said.
"""
import json
import os
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import hf_models
from harness import check, finish, no_compiler, say, scratch, stand_in, tool

SIZES = dict(hidden_size=64, intermediate_size=112, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=67, **{**hf_models.IDS, "max_position_embeddings": 96})
LARGEST = 448.0
BLOCK = (24, 48)  # the last ones are smaller


def to_e4m3(x):
    return x.clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)


class Linear(torch.nn.Module):
    """What the folder means, with sums in double."""

    def __init__(self, codes, scale, kind, input_scale):
        super().__init__()
        weight = codes.double() * scale.double()
        self.weight, self.kind, self.input_scale = weight.bfloat16().double() if kind == "blocks" else weight, kind, input_scale

    def forward(self, x):
        scale = self.input_scale if self.kind == "static" else (x.abs().amax(-1, keepdim=True) / LARGEST).clamp(min=2.0**-126)
        if self.kind in ("static", "dynamic"):
            x = to_e4m3(x / scale).float().double() * scale.double()
        return (x.double() @ self.weight.T).float()


def config_of(form, strategy, kind):
    if form == "fp8" and strategy == "block":
        return {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": BLOCK}
    if form == "fp8":
        return {"quant_method": "fp8", "activation_scheme": kind, "ignored_layers": ["lm_head"]}
    arguments = {"num_bits": 8, "type": "float", "symmetric": True, "group_size": None}
    inputs = {**arguments, "dynamic": kind == "dynamic", "strategy": "token" if kind == "dynamic" else "tensor"} if kind else None
    weights = {**arguments, "dynamic": False, "strategy": strategy, **({"block_structure": BLOCK} if strategy == "block" else {})}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
    return {"quant_method": "compressed-tensors", "format": "float-quantized", "quantization_status": "compressed", "ignore": ["lm_head"], "kv_cache_scheme": None,
            "config_groups": {"group_0": group}}


def write(folder, form, strategy, kind):
    """The folder, and the model as transformers has it."""
    entry = dict(model=transformers.LlamaForCausalLM, config=transformers.LlamaConfig, keys=SIZES, options=dict(dtype=torch.bfloat16))
    model = hf_models.write(entry, folder, 5)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, torch.nn.Linear) or name == "lm_head":
            continue
        weight = layer.weight.data.float()
        most = weight.abs().amax(1, keepdim=True) if strategy == "channel" else weight.abs().max().reshape(1)
        if strategy == "block":
            rows, columns = (-(-size // block) for size, block in zip(weight.shape, BLOCK))
            most = torch.tensor([[weight[i * BLOCK[0]:(i + 1) * BLOCK[0], j * BLOCK[1]:(j + 1) * BLOCK[1]].abs().max() for j in range(columns)] for i in range(rows)])
        stored = scale = (most / LARGEST).to(torch.bfloat16 if form == "compressed" else torch.float32)
        if strategy == "block":
            scale = stored.repeat_interleave(BLOCK[0], 0).repeat_interleave(BLOCK[1], 1)[:weight.shape[0], :weight.shape[1]]
        codes = to_e4m3(weight / scale.float())
        tensors[name + ".weight"], tensors[name + (".weight_scale_inv" if form == "fp8" and strategy == "block" else ".weight_scale")] = codes, stored
        input_scale = torch.tensor([0.004]) if kind == "static" else None  # the largest inputs saturate
        if kind == "static":
            tensors[name + ".input_scale"] = input_scale
        parent, child = name.rsplit(".", 1)
        setattr(model.get_submodule(parent), child, Linear(codes.float(), scale.float(), kind, input_scale))
    save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    set_config(folder, config_of(form, strategy, kind))
    return model


def set_config(folder, quantization):
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    config["quantization_config"] = quantization
    with open(path, "w") as file:
        json.dump({key: value for key, value in config.items() if value is not None}, file)


def refused(name, folder, *words):
    code, _, errors = tool("llmopt-compile", folder, "-o", scratch("refused.llmopt"), "--no-tokenizer", "-q")
    check(f"{name} is refused", code != 0 and all(word in errors for word in words), f"exit {code}: {errors[:500]}")


def families(artifact):
    _, text, _ = tool("llmopt-inspect", artifact, "--kernels", "--json")
    return {(kernel["family"], kernel["math"]) for kernel in json.loads(text)[0]["kernels"]}


for form, strategy, kind in (("compressed", "channel", "dynamic"), ("compressed", "tensor", "static"), ("fp8", "tensor", "dynamic"), ("compressed", "channel", None),
                             ("fp8", "block", "blocks"), ("compressed", "block", "blocks")):
    name = f"{form}, {strategy}, {kind}"
    folder = scratch(f"{form}-{strategy}-{kind}")
    model = write(folder, form, strategy, kind)
    ids = np.random.default_rng(3).integers(3, 67, (1, 70)).astype(np.int32)
    np.save(scratch("ids.npy"), ids)
    with torch.no_grad():
        wanted = model(input_ids=torch.tensor(ids, dtype=torch.int64)).logits.numpy()
    fusion = "-O3" if strategy == "block" else "--require-fusion=fuse-float8-product:14"
    runs = [("cpu", (fusion,), None, 1e-4), ("-O0", ("-O0",), None, 1e-4)]
    if form == "compressed" and strategy != "block":  # weights alone are multiplied with rows in bf16
        runs.append(("sm_90", (fusion, "--dtype=f32", "--target", "sm_90", "--cuda-compiler=emulate", "--no-portable-ptx"), stand_in, 1e-3 if kind else 2e-2))
    for target, flags, env, tolerance in runs:
        artifact = scratch("model.llmopt")
        code, _, errors = tool("llmopt-compile", folder, "-o", artifact, "--no-tokenizer", "-q", *flags)
        if no_compiler(code, errors):
            say("SKIP", f"{name} on sm_90", errors.strip())
            continue
        if not check(f"compile {name} {target}", code == 0, errors[:500]):
            continue
        check(f"{name} {target}: blocks are said to be multiplied in bf16", ("multiplied in bf16" in errors) == (strategy == "block"), errors[:300])
        if target == "sm_90" and kind:
            found = families(artifact)
            check(f"{name}: products of e4m3 by wgmma", ("GemmWgmma", "e4m3") in found, str(found))
        code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch("ids.npy"), "-o", scratch("logits.npy"), env=env)
        if check(f"{name} {target} runs", code == 0, errors[:400]):
            found = np.load(scratch("logits.npy"))
            apart = np.abs(found.reshape(wanted.shape) - wanted)
            # An ulp can move a number to the next code, which later tokens see.
            good = np.median(apart) <= tolerance and np.mean(apart) <= 3 * tolerance + 5e-3 and np.max(apart) <= 0.1 * np.abs(wanted).max()  # NaN does not pass
            check(f"{name} {target}", good, f"differs by {np.median(apart):.3g}, {np.mean(apart):.3g}, {np.max(apart):.3g} (median, mean, most) of {np.abs(wanted).max():.3g}")

set_config(folder, {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128]})
refused("blocks of one number", folder, "blocks of [128], only of two numbers")
set_config(folder, {**config_of("compressed", "group", "dynamic")})
refused("a scale for each group", folder, '"strategy": "group"')
set_config(folder, config_of("compressed", "channel", "static"))
refused("a missing scale", folder, "missing tensor", "input_scale")
set_config(folder, None)
refused("e4m3 without a config", folder, "element type F8_E4M3")
finish()
