#!/usr/bin/env python3
# llmopt-test: quick
"""Tokens drawn on the device, through the real runtime on the stand-in driver: the text of the same seed is the CPU's, greedy and with temperature, top-k, top-p
and min-p, and 4 bytes a token come back. With a repetition penalty logits do, and the host draws. Without a C++ compiler for the images this is skipped."""
import harness
from harness import check, compile_model, data, finish, no_compiler, os, say, scratch, sys, tool

stand_in = {**harness.stand_in, "LLMOPT_STANDIN_COPIES": scratch("copies")}
stories, tokens, vocabulary = data("stories260k"), 24, 512
code, _, errors = tool("llmopt-compile", stories, "-o", scratch("gpu.llmopt"), "-q", "--target", "sm_90", "--cuda-compiler=emulate")
if no_compiler(code, errors):
    say("SKIP", "cuda_sampling", errors.strip())
    sys.exit(0)
host = compile_model(stories, "cpu", "--target", "x86-64")
check("compile for sm_90", code == 0, errors[:300])

for name, flags in (("greedy", ("--temperature", 0)), ("temperature", ("--temperature", 0.9, "--seed", 3)), ("top-k", ("--temperature", 1.2, "--top-k", 20, "--seed", 4)),
                    ("top-p", ("--temperature", 1, "--top-p", 0.8, "--seed", 5)), ("all", ("--temperature", 1.5, "--top-k", 50, "--top-p", 0.95, "--min-p", 0.02, "--seed", 6)),
                    ("penalty", ("--temperature", 1, "--repeat-penalty", 1.3, "--seed", 7))):
    run = lambda artifact, env: tool("llmopt-run", artifact, "-p", "Once upon a time", "--no-echo", "-n", tokens, "--ignore-eos", *flags, env=env)
    if os.path.exists(scratch("copies")):
        os.remove(scratch("copies"))
    code, text, errors = run(scratch("gpu.llmopt"), stand_in)
    _, wanted, _ = run(host, {})
    check(f"{name}: the CPU's text", code == 0 and text == wanted and len(text) > tokens, f"exit {code} {errors[:300]!r}: {text!r}, not {wanted!r}")
    with open(scratch("copies")) as file:
        copies = [int(line) for line in file]
    expected = [vocabulary * 4 if name == "penalty" else 4] * tokens
    check(f"{name}: what comes back", copies == expected, str(copies))
finish()
