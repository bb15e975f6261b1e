# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases of ort-models whose stored answers are rounding noise, and what can be tested of them.

Some of ONNX Runtime's models have weights of ones: a product then gives rows of large, nearly equal numbers, and the norm behind it takes their
differences. With weights and inputs one unit in the last place away, ONNX Runtime's own answer moves by more than the tolerance, so another order
of summation cannot meet it. What such a graph means is tested with drawn weights instead, at the full tolerance.
"""
import os

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import onnx_cases

DRAWS = 8


def answers(model, inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs)))


def read(folder):
    model = onnx.load(os.path.join(folder, "model.onnx"))
    weights = {w.name for w in model.graph.initializer}
    count = sum(i.name not in weights for i in model.graph.input)
    data = os.path.join(folder, "test_data_set_0")
    load = lambda kind, n: [numpy_helper.to_array(onnx.load_tensor(os.path.join(data, f"{kind}_{i}.pb"))) for i in range(n)]
    return model, load("input", count), load("output", len(model.graph.output))


def with_weights(model, change):
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for weight in changed.graph.initializer:
        value = numpy_helper.to_array(weight)
        if value.dtype == np.float32:
            weight.CopyFrom(numpy_helper.from_array(change(value), weight.name))
    return changed


def moved(model, inputs, stored):
    """The largest change of ONNX Runtime's answer over draws of one unit in the last place up, down or none."""
    random = np.random.default_rng(0)
    nudge = lambda x: x if x.dtype != np.float32 else np.nextafter(x, x + random.integers(-1, 2, x.shape).astype(np.float32), dtype=np.float32)
    found = 0.0
    for _ in range(DRAWS):
        got = answers(with_weights(model, nudge), [nudge(x) for x in inputs])
        found = max([found] + [float(np.max(np.abs(g - s))) for g, s in zip(got, stored)])
    return found


def drawn(model, inputs, folder):
    """Writes the case with drawn weights: matrices keep the size of what goes through them, vectors are near one."""
    random = np.random.default_rng(1)

    def draw(value):
        if value.ndim < 2:
            return random.uniform(0.5, 1.5, value.shape).astype(np.float32)
        return (random.standard_normal(value.shape) / np.sqrt(value.shape[0])).astype(np.float32)

    other = with_weights(model, draw)
    os.makedirs(folder, exist_ok=True)
    onnx.save(other, os.path.join(folder, "model.onnx"))
    onnx_cases.write_set(folder, 0, inputs, answers(other, inputs))
