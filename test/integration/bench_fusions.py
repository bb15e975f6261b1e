#!/usr/bin/env python3
# llmopt-test: quick
"""llmopt-bench fusions: one row for each fusion that the compiler made, none for the others; flags and errors reach the compiler."""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build"))
MODEL = """
func.func @main(%x: tensor<?x64xf32> {llm.dims = ["n", 64], llm.name = "x"}) -> (tensor<?x64xf32> {llm.name = "y"}) {
  %half = llm.constant dense<0.5> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %root = llm.constant dense<1.41421356> : tensor<f32>
  %d = llm.div %x, %root : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %e = llm.erf %d : tensor<?x64xf32>
  %s = llm.add %e, %one : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %p = llm.mul %x, %s : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  %y = llm.mul %p, %half : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
"""
failures = 0


def check(name, condition, reason=""):
    global failures
    failures += not condition
    print(f"PASS {name}" if condition else f"FAIL {name} {reason}", flush=True)


def fusions(*arguments):
    done = subprocess.run([f"{BUILD}/bin/llmopt-bench", "fusions", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


with tempfile.TemporaryDirectory(prefix="llmopt-fusions-") as folder:
    model = os.path.join(folder, "gelu.mlir")
    with open(model, "w") as file:
        file.write(MODEL)
    code, text, errors = fusions(model, "--shape", "x=5x64", "-r", "3", "-o", "json")
    rows = json.loads(text) if code == 0 else []
    check("one row", [(row["fusion"], row["made"], row["test"]) for row in rows] == [("fuse-gelu", 1, "x=5x64")], errors[:300] + text)
    check("times", all(row["median_ms"] > 0 and row["median_ms_without"] > 0 for row in rows), text)
    code, text, errors = fusions(model, "--shape", "x=5x64", "-o", "json", "--compile-flag=-O0")
    check("flags reach the compiler", code == 0 and json.loads(text) == [], errors[:300] + text)
    code, text, errors = fusions(os.path.join(folder, "absent.onnx"))
    check("the compiler's error", code == 1 and "E0101" in errors and "E1605" in errors and not text, f"exit {code} {errors[:300]}")
sys.exit(1 if failures else 0)
