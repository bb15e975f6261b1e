#!/usr/bin/env python3
# llmopt-test: long
"""All 5,226 greedy answers of CAPP-GPT for sm_90 on the stand-in driver, in bf16, f16 and f32. Without a C++ compiler for the images this is skipped."""
from capp_on_cuda import answers, cases, compiled
from harness import finish

for dtype in ("bf16", "f16", "f32"):
    answers(dtype, compiled(dtype), cases)
finish()
