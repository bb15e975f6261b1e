#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: torch transformers onnx
"""What depth costs: 80 layers against 2 of a random-weight Llama, and one graph of 3,836 nodes. Processor time, not wall time, so that a
busy machine does not decide; the bounds are those of the requirement: at most 1.3 times, and under 5 s."""
import os
import resource
import subprocess
import sys
import tempfile

import onnx
from onnx import TensorProto, helper, numpy_helper
import numpy as np

BUILD = os.environ["LLMOPT_BUILD"]
failures = 0


def check(name, condition, shown):
    global failures
    failures += not condition
    print(("PASS " if condition else "FAIL ") + name + f": {shown}")


def seconds(model, folder):
    """The least of three."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([os.path.join(BUILD, "bin", "llmopt-compile"), model, "-O3", "--no-tokenizer", "-o", os.path.join(folder, "m.llmopt"), "-q"],
                              capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            print("FAIL " + model + ": " + done.stderr)
            sys.exit(1)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def llama(layers, folder):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(0)
    path = os.path.join(folder, f"llama-{layers}")
    LlamaForCausalLM(LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
                                 vocab_size=256, max_position_embeddings=256)).save_pretrained(path)
    return path


def long_graph(nodes, folder):
    """MLP blocks with a written-out layer norm and GELU, as exporters write them, up to the number of nodes."""
    width, made, weights, value = 32, [], [], "x"
    number = lambda name, array: weights.append(numpy_helper.from_array(np.asarray(array, np.float32), name)) or name
    for name, v in (("two", 2), ("eps", 1e-5), ("root", 2 ** 0.5), ("one", 1), ("half", 0.5)):
        number(name, v)

    def node(op, inputs, **attributes):
        made.append(helper.make_node(op, inputs, [f"v{len(made)}"], name=f"/{op}_{len(made)}", **attributes))
        return made[-1].output[0]

    random = np.random.default_rng(0)
    while len(made) < nodes - 17:
        i = len(made)
        mean = node("ReduceMean", [value], axes=[-1])
        centered = node("Sub", [value, mean])
        under = node("Add", [node("ReduceMean", [node("Pow", [centered, "two"])], axes=[-1]), "eps"])
        normed = node("Mul", [node("Div", [centered, node("Sqrt", [under])]), number(f"g{i}", random.normal(1, .1, width))])
        hidden = node("MatMul", [normed, number(f"w{i}", random.normal(0, .2, (width, width)))])
        hidden = node("Add", [hidden, number(f"b{i}", random.normal(0, .1, width))])
        gate = node("Add", [node("Erf", [node("Div", [hidden, "root"])]), "one"])
        value = node("Add", [value, node("Mul", [node("Mul", [hidden, gate]), "half"])])
    while len(made) < nodes:
        value = node("Tanh", [value])
    made[-1].output[0] = "y"
    tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "seq", width])
    graph = helper.make_graph(made, "long", [tensor("x")], [tensor("y")], weights)
    path = os.path.join(folder, "long.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


with tempfile.TemporaryDirectory(prefix="llmopt-time-") as folder:
    two, eighty = seconds(llama(2, folder), folder), seconds(llama(80, folder), folder)
    check("80 layers against 2", eighty <= 1.3 * two, f"{eighty:.2f} s against {two:.2f} s, {eighty / two:.2f} times")
    time = seconds(long_graph(3836, folder), folder)
    check("3,836 nodes", time < 5, f"{time:.2f} s")
sys.exit(1 if failures else 0)
