#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx ml_dtypes
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every twelfth case of the node test suite; onnx_suite.py runs all. What takes longer than it may is stopped.

    onnx_suite_sample.py [--out FOLDER] [--only REGEX] [--run PROGRAM]
"""
import functools
import sys
import tempfile

import onnx_cases
import onnx_suite


def too_long():
    """The number of failures where no case has the time to end."""
    command = onnx_cases.programs().get("compiled -O3")
    if not command:
        print("SKIP stopped: no compiler")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        onnx_suite.make(folder, "^test_attention_4d$")
        results = onnx_cases.run(command + " --timeout 0.001", folder)
    good = list(results.values()) == [("FAIL", "took longer than 0.001 s of a processor")]
    print("PASS stopped" if good else f"FAIL stopped: {results}")
    return not good


if __name__ == "__main__":
    sys.exit(too_long() or onnx_cases.main(__doc__, functools.partial(onnx_suite.make, every=12), onnx_suite.check))
