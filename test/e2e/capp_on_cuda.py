"""CAPP-GPT for sm_90 on the stand-in driver: what the quick and the long test share."""
import re

from harness import check, data, no_compiler, os, say, scratch, stand_in, sys, tool

folder = data("capp-gpt")
with open(f"{folder}/greedy_all_prompts.tsv") as file:
    cases = [line for line in file if not line.startswith("#")]


def compiled(dtype):
    """The artifact; ends the script as skipped without a C++ compiler for the images."""
    artifact = scratch(f"capp-{dtype}.llmopt")
    code, _, errors = tool("llmopt-compile", f"{folder}/model.onnx", "-o", artifact, "-q", "-O3", "--dtype", dtype, "--target", "sm_90", "--cuda-compiler=emulate")
    if no_compiler(code, errors):
        say("SKIP", os.path.basename(sys.argv[0]), errors.strip())
        sys.exit(0)
    check(f"compile capp-{dtype}", code == 0, errors[:300])
    return artifact


def answers(dtype, artifact, chosen):
    with open(scratch("cases.tsv"), "w") as file:
        file.writelines(chosen)
    code, text, errors = tool("llmopt-eval", "generate", artifact, "--cases", scratch("cases.tsv"), "--batch", 100, env=stand_in, timeout=7200)
    counts = re.search(r"(\d+) of (\d+)", text.decode())
    check(f"capp-gpt {dtype}: {len(chosen)} greedy answers", code == 0 and counts and counts.group(1) == counts.group(2) == str(len(chosen)), f"exit {code}: {text.decode()[-200:]} {errors[-200:]}")


def data_sets(dtype, artifact, tolerance):
    for i in range(5):
        code, _, errors = tool("llmopt-run", artifact, "--test-data", f"{folder}/test_data_set_{i}", "--atol", tolerance, "--rtol", 0, env=stand_in)
        check(f"capp-gpt {dtype} test_data_set_{i}", code == 0, errors[:300])
