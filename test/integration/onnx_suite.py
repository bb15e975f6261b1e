#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy onnx ml_dtypes
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The node test suite of the PyPI package `onnx`: nothing may fail; what is not supported says why.

    onnx_suite.py [--out FOLDER] [--only REGEX] [--run PROGRAM]

With the baseline of scopes at hand (LLMOPT_TEST_DATA/onnx-suite/baseline.tsv), the numbers of cases that must pass are checked: of the
operators that transformers use, and of all that are in scope. Compiled, an operator must agree with its function's body.
"""
import os
import re
import sys
import warnings

import onnx
from onnx import numpy_helper

import onnx_cases

warnings.filterwarnings("ignore")
WANTED = {"T": (1178, 1120), "To": (1445, 1330)}  # scopes: cases of onnx 1.23.2, how many of them must pass


def as_proto(value, info):
    if hasattr(value, "SerializeToString"):
        return value
    kind = info.type.WhichOneof("value")
    convert = {"sequence_type": numpy_helper.from_list, "optional_type": numpy_helper.from_optional}.get(kind, numpy_helper.from_array)
    return convert(value, info.name)


def make(out, only, every=1):
    """Cases whose names match; of those every n-th."""
    from onnx.backend.test.case.node import collect_testcases

    for case in sorted(collect_testcases(None), key=lambda case: case.name)[every // 2::every]:
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


def scopes():
    """{case: T (operators of transformers), o (other in scope) or x}"""
    path = os.path.join(os.environ.get("LLMOPT_TEST_DATA", ""), "onnx-suite", "baseline.tsv")
    if not os.path.exists(path):
        return {}
    rows = [line.rstrip("\n").split("\t") for line in open(path) if not line.startswith("#")]
    return {row[0]: row[3] for row in rows}


def check(how, results):
    failed = 0
    for name, (outcome, reason) in sorted(results.items()):
        if outcome == "FAIL" or (outcome == "UNSUPPORTED" and not reason):
            failed += 1
            print(f"FAIL {name} {how} {reason or 'unsupported without a reason'}")
    passed = sum(outcome == "PASS" for outcome, _ in results.values())
    print(f"{'PASS' if passed else 'FAIL'} node suite {how}: {passed} of {len(results)} cases pass, {failed} fail")
    scope = scopes()
    for kind, (cases, wanted) in WANTED.items():
        rows = [name for name in results if scope.get(name, "x") in kind]
        got = sum(results[name][0] == "PASS" for name in rows)
        if len(rows) == cases and how != "interpreted":
            print(f"{'PASS' if got >= wanted else 'FAIL'} scope {kind} {how}: {got} of {cases} pass, {wanted} must")
            failed += got < wanted
    return failed + (passed == 0)


if __name__ == "__main__":
    sys.exit(onnx_cases.main(__doc__, make, check))
