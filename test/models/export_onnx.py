#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports a Hugging Face decoder folder to ONNX with a key-value cache.

    python3 export_onnx.py storyteller --output storyteller.onnx                          # torch.export based
    python3 export_onnx.py storyteller --output storyteller.onnx --exporter torchscript   # tracing based

Inputs:  input_ids, attention_mask, position_ids, past_key_values.<layer>.key, past_key_values.<layer>.value
Outputs: logits, present.<layer>.key, present.<layer>.value
Free dimensions: batch, sequence, past, and "past + sequence" in the mask and in the present tensors. With past = 0 the same graph
does the prompt. The file is compared with PyTorch in ONNX Runtime, as a prompt of two rows and as steps after it.
"""
import argparse
import numpy
import onnx
import onnxruntime
import torch
from transformers import AutoModelForCausalLM, DynamicCache


class WithCache(torch.nn.Module):
    """The model with its cache as a flat list of tensors: key, value, key, value ..."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, past):
        cache = DynamicCache(config=self.model.config)
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        result = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                            past_key_values=cache, use_cache=True)
        present = [tensor for layer in result.past_key_values.layers for tensor in (layer.keys, layer.values)]
        return result.logits, *present


def inputs_of(config, batch, sequence, past, generator, dtype):
    """Random inputs; the cache holds what an earlier call might have left."""
    heads, width = config.num_key_value_heads, config.head_dim
    cache = [torch.randn(batch, heads, past, width, generator=generator, dtype=torch.float32).to(dtype)
             for _ in range(2 * config.num_hidden_layers)]
    ids = torch.randint(3, config.vocab_size, (batch, sequence), generator=generator)
    positions = torch.arange(past, past + sequence).repeat(batch, 1)
    return ids, torch.ones(batch, past + sequence, dtype=torch.int64), positions, cache


def names_of(config):
    pairs = [(layer, part) for layer in range(config.num_hidden_layers) for part in ("key", "value")]
    return (["input_ids", "attention_mask", "position_ids"] + [f"past_key_values.{layer}.{part}" for layer, part in pairs],
            ["logits"] + [f"present.{layer}.{part}" for layer, part in pairs])


def export(wrapped, config, path, exporter, opset, dtype):
    inputs, outputs = names_of(config)
    example = inputs_of(config, 2, 3, 4, torch.Generator().manual_seed(1), dtype)
    if exporter == "dynamo":
        from torch.export import Dim
        batch, sequence, past = Dim("batch"), Dim("sequence"), Dim("past")
        shapes = ({0: batch, 1: sequence}, {0: batch, 1: Dim.DYNAMIC}, {0: batch, 1: sequence},
                  [{0: batch, 2: past} for _ in example[3]])
        torch.onnx.export(wrapped, example, path, input_names=inputs, output_names=outputs, dynamic_shapes=shapes,
                          opset_version=opset, dynamo=True, external_data=False)
        name_mask_length(path)
    else:
        axes = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "past + sequence"},
                "position_ids": {0: "batch", 1: "sequence"}, "logits": {0: "batch", 1: "sequence"}}
        axes |= {name: {0: "batch", 2: "past"} for name in inputs[3:]}
        axes |= {name: {0: "batch", 2: "past + sequence"} for name in outputs[1:]}
        torch.onnx.export(wrapped, example, path, input_names=inputs, output_names=outputs, dynamic_axes=axes,
                          opset_version=opset, dynamo=False)


def name_mask_length(path):
    """torch.export cannot say that one dimension is the sum of two others, so it invents a name for the mask's length."""
    model = onnx.load(path)
    mask = next(value for value in model.graph.input if value.name == "attention_mask")
    invented = mask.type.tensor_type.shape.dim[1].dim_param
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == invented:
                dim.dim_param = "past + sequence"
    onnx.save(model, path)


def check(wrapped, config, path, dtype):
    """Largest difference between ONNX Runtime and PyTorch over a prompt, a step and a chunk, relative to the largest value."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names, _ = names_of(config)
    generator, worst = torch.Generator().manual_seed(2), 0.0
    for batch, sequence, past in ((2, 7, 0), (1, 1, 9), (3, 4, 5)):
        ids, mask, positions, cache = inputs_of(config, batch, sequence, past, generator, dtype)
        if batch == 3 and past:
            mask[0, :2] = 0   # a row padded on the left
            positions[0] -= 2
        with torch.no_grad():
            want = wrapped(ids, mask, positions, cache)
        got = session.run(None, dict(zip(names, (tensor.numpy() for tensor in (ids, mask, positions, *cache)))))
        assert len(got) == len(want)
        for a, b in zip(got, want):
            assert a.shape == tuple(b.shape), f"shape {a.shape}, expected {tuple(b.shape)}"
            worst = max(worst, float(numpy.abs(a - b.numpy()).max() / max(1.0, float(b.abs().max()))))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--output", default="model.onnx")
    parser.add_argument("--exporter", choices=["dynamo", "torchscript"], default="dynamo")
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--opset", type=int, default=18)
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    args = parser.parse_args()

    dtype = getattr(torch, args.dtype)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=dtype, attn_implementation=args.attention).eval()
    wrapped = WithCache(model)
    with torch.no_grad():
        export(wrapped, model.config, args.output, args.exporter, args.opset, dtype)
    graph = onnx.load(args.output)
    onnx.checker.check_model(graph)
    worst = check(wrapped, model.config, args.output, dtype)
    print(f"{args.output}: {len(graph.graph.node)} nodes, opset {graph.opset_import[0].version}, "
          f"largest relative difference to PyTorch {worst:.2e}")
    if worst > (1e-4 if args.dtype == "float32" else 2e-2):
        raise SystemExit("the exported graph does not compute what the model computes")


if __name__ == "__main__":
    main()
