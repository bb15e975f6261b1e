#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx ml_dtypes
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The node suite's attention cases in bf16 against exact arithmetic.

    onnx_bf16.py

Their stored answers were rounded to bf16 after every step, also within sums, so ours differ from some by one unit in the last place. What
decides is the exact answer: the package's own reference over the same inputs as f64. Compiled at -O0 and -O3, an Attention gives that
answer rounded once, and its function's body, whose steps are bf16, is nowhere further from it than the stored answer's largest error.
"""
import glob
import os
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper, reference

import onnx_suite

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
BF16 = ml_dtypes.bfloat16


def arrays(folder, kind):
    """{file: array} in the graph's order."""
    files = sorted(glob.glob(os.path.join(folder, "test_data_set_0", f"{kind}_*.pb")))
    return {path: numpy_helper.to_array(onnx.load_tensor(path)) for path in files}


def exact(folder, values):
    model = onnx.load(os.path.join(folder, "model.onnx"))
    for info in [*model.graph.input, *model.graph.output]:
        if info.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16:
            info.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    wide = [value.astype(np.float64) if value.dtype == BF16 else value for value in values]
    return reference.ReferenceEvaluator(model).run(None, dict(zip([i.name for i in model.graph.input], wide)))[0]


def ours(folder, level, temporary):
    model = onnx.load(os.path.join(folder, "model.onnx"))
    artifact = os.path.join(temporary, "case.llmopt")
    subprocess.run([os.path.join(BIN, "llmopt-compile"), os.path.join(folder, "model.onnx"), level, "-q", "-o", artifact], check=True)
    inputs = [f"{info.name}=@{path}" for info, path in zip(model.graph.input, arrays(folder, "input"))]
    subprocess.run([os.path.join(BIN, "llmopt-run"), artifact, "--output-dir", temporary, *[x for i in inputs for x in ("--input", i)]], check=True, stdout=subprocess.DEVNULL)
    found = np.load(os.path.join(temporary, model.graph.output[0].name + ".npy"))
    return found.view(BF16) if found.dtype.itemsize == 2 else found


def worst(found, want):
    """The largest difference in units of bf16's last place."""
    unit = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(want), 1e-30))) - 7)
    return float(np.max(np.abs(found.astype(np.float64) - want) / unit))


def main():
    failures = cases = 0
    with tempfile.TemporaryDirectory() as temporary:
        onnx_suite.make(temporary, "^test_attention_.*bf16")
        for folder in sorted(glob.glob(os.path.join(temporary, "test_attention_*"))):
            want = exact(folder.removesuffix("_expanded"), list(arrays(folder, "input").values()))
            stored = worst(next(iter(arrays(folder, "output").values())), want)
            allowed = stored if folder.endswith("_expanded") else 0.51
            for level in ("-O0", "-O3"):
                error = worst(ours(folder, level, temporary), want)
                print(f"{'PASS' if error <= allowed else 'FAIL'} {os.path.basename(folder)} {level}: {error:.2f} units from the exact answer, the stored answer {stored:.2f}")
                failures += not error <= allowed
                cases += 1
    return 1 if failures or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
