# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""optimum, which wants another transformers than the other scripts: run by an interpreter of its own.

    python onnx_exporters.py FOLDER OUT.onnx    a decoder with a cache; pip install optimum-onnx

Tests find the interpreter in LLMOPT_OPTIMUM_PYTHON.
"""
import os
import shutil
import subprocess
import sys
import tempfile


def optimum(folder, path):
    """None, or why it could not be done."""
    python = os.environ.get("LLMOPT_OPTIMUM_PYTHON")
    if not python:
        return "LLMOPT_OPTIMUM_PYTHON names no interpreter"
    done = subprocess.run([python, os.path.abspath(__file__), folder, path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def main(folder, path):
    from optimum.exporters.onnx import main_export

    with tempfile.TemporaryDirectory() as out:
        main_export(folder, output=out, task="text-generation-with-past", device="cpu", do_validation=False)
        shutil.copy(os.path.join(out, "model.onnx"), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
