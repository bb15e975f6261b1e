#!/usr/bin/env python3
# llmopt-test: quick
"""-O0 and -O3 against the reference interpreter, on every small model: folders in ragged steps, ONNX graphs on random inputs and on their
recorded data sets."""
import glob
import os

from harness import DATA, ROOT, check, finish, say, tool

FOLDERS = ["stories260k", "tinystories-656k", "capp-gpt", "tiny-t5"]
GRAPHS = ["capp-gpt/model.onnx", "genai-tiny-gpt2/past.onnx", "ort-tiny/*/model.onnx"]


def agree(name, *arguments, steps=False):
    code, text, errors = tool("llmopt-eval", "agree", *arguments)
    rows = text.decode().splitlines()
    levels = {row.split()[0] for row in rows}
    worst = " ".join(row for row in rows if ", '" in row)
    ragged = any(row.startswith("-O3 step") for row in rows) or not steps
    check(f"agree {name}: {len(rows)} results", code == 0 and levels == {"-O0", "-O3"} and ragged, f"exit {code}: {worst[:300]} {errors[:300]}")


agree("storyteller", os.path.join(ROOT, "test", "models", "storyteller"))
if not os.path.exists(DATA):
    say("SKIP", "agree", "no test data")
for name in FOLDERS:
    if os.path.exists(os.path.join(DATA, name)):
        agree(name, os.path.join(DATA, name))
for pattern in GRAPHS:
    for model in sorted(glob.glob(os.path.join(DATA, pattern))):
        folder = os.path.dirname(model)
        name = os.path.relpath(folder, DATA)
        agree(f"{name} random inputs", model, steps=name == "capp-gpt")  # a padded decoder that becomes ragged steps
        for data in sorted(glob.glob(os.path.join(folder, "test_data_set_*"))):
            agree(f"{name} {os.path.basename(data)}", model, "--test-data", data)
finish()
