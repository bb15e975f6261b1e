#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy onnx ml_dtypes
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The node test suite of the PyPI package `onnx`: nothing may fail; what is not supported says why.

    onnx_suite.py [--out FOLDER] [--only REGEX] [--run PROGRAM]

With the baseline of ONNX Runtime at hand (LLMOPT_TEST_DATA/onnx-suite/baseline.tsv), 60 % of the cases with operators that transformers use
and that ONNX Runtime passes must pass.
"""
import os
import re
import sys
import warnings

import onnx
from onnx import numpy_helper

import onnx_cases

warnings.filterwarnings("ignore")
SHARE = 0.6


def as_proto(value, info):
    if hasattr(value, "SerializeToString"):
        return value
    kind = info.type.WhichOneof("value")
    convert = {"sequence_type": numpy_helper.from_list, "optional_type": numpy_helper.from_optional}.get(kind, numpy_helper.from_array)
    return convert(value, info.name)


def make(out, only):
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        folder = os.path.join(out, case.name)
        if not re.search(only, case.name) or os.path.exists(os.path.join(folder, "tolerance.json")):
            continue
        os.makedirs(folder, exist_ok=True)
        onnx.save(case.model, os.path.join(folder, "model.onnx"))
        graph = case.model.graph
        for i, (inputs, outputs) in enumerate(case.data_sets):
            onnx_cases.write_set(folder, i, [as_proto(v, info) for v, info in zip(inputs, graph.input)],
                                 [as_proto(v, info) for v, info in zip(outputs, graph.output)])
        onnx_cases.write_tolerance(folder, case.rtol, case.atol)


def baseline():
    """Cases with operators of transformers that ONNX Runtime passes."""
    path = os.path.join(os.environ.get("LLMOPT_TEST_DATA", ""), "onnx-suite", "baseline.tsv")
    if not os.path.exists(path):
        return []
    rows = [line.rstrip("\n").split("\t") for line in open(path) if not line.startswith("#")]
    return [row[0] for row in rows if row[3] == "T" and row[4] == "PASS"]


def check(how, results):
    failed = 0
    for name, (outcome, reason) in sorted(results.items()):
        if outcome == "FAIL" or (outcome == "UNSUPPORTED" and not reason):
            failed += 1
            print(f"FAIL {name} {how} {reason or 'unsupported without a reason'}")
    passed = sum(outcome == "PASS" for outcome, _ in results.values())
    print(f"{'PASS' if passed else 'FAIL'} node suite {how}: {passed} of {len(results)} cases pass, {failed} fail")
    wanted = [name for name in baseline() if name in results]
    if len(wanted) > 100:
        got = sum(results[name][0] == "PASS" for name in wanted)
        enough = got >= SHARE * len(wanted)
        print(f"{'PASS' if enough else 'FAIL'} transformer operators {how}: {got} of {len(wanted)}")
        failed += not enough
    return failed + (passed == 0)


if __name__ == "__main__":
    sys.exit(onnx_cases.main(__doc__, make, check))
