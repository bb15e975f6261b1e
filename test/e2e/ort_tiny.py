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

# A graph without a mask: rows may be padded behind their tokens, never before them.
artifact, ids, out = scratch("gpt2_pytorch1.4_opset11_no_past-O0.llmopt"), scratch("ids.npy"), scratch("out.npy")
np.save(ids, np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))
for side, wanted in (((1, 1, 0, 0), 0), ((0, 0, 1, 1), 3)):
    np.save(scratch("mask.npy"), np.array([[1, 1, 1, 1], side]))
    code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", ids, "--mask", scratch("mask.npy"), "-o", out)
    check(f"mask {side}", code == wanted and (code == 0 or "takes no mask" in errors), f"exit {code}: {errors[:300]}")
cases = scratch("cases.tsv")
with open(cases, "w") as file:
    for prompt in ("9 3 7", "11", "2 9 4 1"):
        file.write(f"{prompt}\t{tool('llmopt-run', artifact, '--ids', prompt, '-n', '3', '--print-ids')[1].decode()}")
code, _, errors = tool("llmopt-eval", "generate", artifact, "--cases", cases, "--batch", "3")
check("prompts of other lengths in one batch answer as alone", code == 0, errors[:300])
finish()
