#!/usr/bin/env python3
# llmopt-test: quick
"""Sequences of the repository's own model, compiled: joining, leaving, forks, truncation, chunks and threads give what the same
tokens give alone."""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build"))
MODEL = os.path.join(ROOT, "test", "models", "storyteller")
COMPILE = os.path.join(BUILD, "bin", "llmopt-compile")

if not os.path.exists(COMPILE) or not os.path.exists(MODEL):
    print("SKIP sequences: no llmopt-compile in this build")
    sys.exit(0)
with tempfile.TemporaryDirectory(prefix="llmopt-sequences-") as folder:
    for flags in (["-O0"], ["-O3"], ["-O3", "--dtype", "f32", "--target", "x86-64-v3"], ["-O3", "--products", "bf16"], ["-O3", "--products", "bf16x2", "--strategy-target", "x86-64-v4-amx"], ["-O3", "--dtype", "int4"], ["-O3", "--dtype", "int4", "--products", "bf16x2", "--strategy-target", "x86-64-v4-amx"], ["-O3", "--dtype", "int8", "--target", "x86-64-v3"]):
        artifact = os.path.join(folder, "story.llmopt")
        done = subprocess.run([COMPILE, MODEL, *flags, "-q", "-o", artifact], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"FAIL compile {flags} {done.stderr.strip()[:300]}")
            sys.exit(1)
        checked = subprocess.run([os.path.join(BUILD, "test", "bin", "llmopt-sequence-check"), artifact], capture_output=True, text=True)
        print(checked.stdout, end="")
        if checked.returncode != 0 and "FAIL" not in checked.stdout:
            print(f"FAIL sequences {flags} exit {checked.returncode} {checked.stderr.strip()[:300]}")
