#!/usr/bin/env python3
# llmopt-test: quick
"""CAPP-GPT for sm_90 on the stand-in driver: 200 greedy answers in bf16, and its recorded data sets in bf16 within 1e-2 of the largest logit, in f16 within a fifth
of that (docs/rationale/cuda.md has what 16 bits cost); cuda_emulated.py has f32. Without a C++ compiler for the images this is skipped."""
from capp_on_cuda import answers, cases, compiled, data_sets
from harness import finish

for dtype, tolerance in (("bf16", 0.09), ("f16", 0.018)):  # logits reach 9.0 at least in the sets that differ most
    artifact = compiled(dtype)
    data_sets(dtype, artifact, tolerance)
    if dtype == "bf16":
        answers(dtype, artifact, cases[:200])
finish()
