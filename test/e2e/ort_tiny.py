#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
"""Old exporters' BERT and GPT-2 graphs of thousands of nodes against the outputs recorded with them, where ONNX Runtime itself agrees with
these; a graph it refuses may be refused, with an error that names the node. Nothing is decided by time, but a compilation that takes minutes
instead of seconds ends in the harness's limit."""
import glob
import os
import time

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from harness import check, data, finish, say, scratch, tool

TOLERANCE = 1e-5


def tensors(folder, kind):
    """{name: array}; the files carry the graph's names."""
    result = {}
    for i in range(len(glob.glob(f"{folder}/{kind}_*.pb"))):
        proto = onnx.TensorProto()
        proto.ParseFromString(open(f"{folder}/{kind}_{i}.pb", "rb").read())
        result[proto.name] = numpy_helper.to_array(proto)
    return result


def reference_agrees(model, recorded):
    """True, False, or None where ONNX Runtime refuses the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options)
    except Exception:
        return None
    expected = tensors(recorded, "output")
    got = dict(zip(expected, session.run(list(expected), tensors(recorded, "input"))))
    return all(np.allclose(got[name], expected[name], rtol=TOLERANCE, atol=TOLERANCE) for name in expected)


for folder in sorted(glob.glob(f"{data('ort-tiny')}/*/")):
    name = os.path.basename(folder.rstrip("/"))
    model, recorded = f"{folder}model.onnx", f"{folder}test_data_set_0"
    agrees = reference_agrees(model, recorded)
    if agrees is False:
        say("SKIP", name, "ONNX Runtime itself differs from the recorded outputs")
        continue
    for level in ("-O0", "-O3"):
        artifact, start = scratch(f"{name}{level}.llmopt"), time.time()
        code, _, errors = tool("llmopt-compile", model, "-o", artifact, "-q", level, timeout=60)
        print(f"{name} {level}: compiled in {time.time() - start:.1f} s")
        if code and agrees is None:
            check(f"{name} {level} refused with the node", "Concat" in errors, f"exit {code}: {errors[:300]}")
            continue
        if not check(f"{name} {level} compiles", code == 0, f"exit {code}: {errors[:300]}"):
            continue
        for threads in (1, 2):
            code, _, errors = tool("llmopt-run", artifact, "--test-data", recorded, "--atol", TOLERANCE, "--rtol", TOLERANCE, "-t", threads)
            check(f"{name} {level} {threads} threads", code == 0, errors[:300])
finish()
