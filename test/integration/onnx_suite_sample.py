#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx ml_dtypes
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every twelfth case of the node test suite; onnx_suite.py runs all.

    onnx_suite_sample.py [--out FOLDER] [--only REGEX] [--run PROGRAM]
"""
import functools
import sys

import onnx_cases
import onnx_suite

if __name__ == "__main__":
    sys.exit(onnx_cases.main(__doc__, functools.partial(onnx_suite.make, every=12), onnx_suite.check))
