#!/usr/bin/env python3
# llmopt-test: long
"""Random weights that the artifact only describes: drawn by the runtime on a CPU, and on a GPU (the stand-in driver), they are those of an artifact that
carries them. Damaged recipes are refused."""
import json
import os

from harness import check, compile_model, finish, say, scratch, stand_in, tool

EMULATE = ("--target", "sm_90", "--cuda-compiler=emulate")
# Sizes at which some tensors are described (more than a MiB) and some are not; no vocabulary is a multiple of a panel's 16 columns. Name: config, flags.
CASES = {
    "llama, drawn in bf16, kept in f16": (dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=528, intermediate_size=1050, num_hidden_layers=1,
                                               num_attention_heads=4, num_key_value_heads=2, vocab_size=2051, max_position_embeddings=64, rms_norm_eps=1e-6, hidden_act="silu",
                                               torch_dtype="bfloat16"), ("--dtype", "f16")),
    "gpt2, matrices turned": (dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], n_embd=312, n_layer=1, n_head=3, vocab_size=1021, n_positions=64), ()),
}


def ids(artifact, device):
    code, text, errors = tool("llmopt-run", artifact, "--device", device, "--ids", "1 5 9", "--no-echo", "--print-ids", "--ignore-eos", "-n", 6, "--temperature", 0, env=stand_in)
    return text.decode() if code == 0 else f"exit {code}: {errors[:300]}"


def section(artifact, name):
    code, text, _ = tool("llmopt-inspect", artifact, "--json")
    return next((s for s in json.loads(text)["sections"] if s["name"] == name), None)


for i, (name, (config, flags)) in enumerate(CASES.items()):
    folder = scratch(str(i))
    os.makedirs(folder, exist_ok=True)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    common = (folder, "-O3", "--target", "x86-64", "--weights", "random:7", *flags)
    carried = compile_model(common[0], f"carried-{i}", *common[1:])
    described = compile_model(common[0], f"described-{i}", *common[1:], *EMULATE)
    if not carried or not described:
        continue
    small, whole = section(described, "weights")["bytes"], section(carried, "weights")["bytes"]
    check(f"{name}: the artifact is small", section(described, "drawn") and not section(carried, "drawn") and small < 0.6 * whole, f"{small} of {whole} bytes")
    wanted = ids(carried, "cpu")
    check(f"{name}: carried weights run", len(wanted.split()) == 6 and wanted[0].isdigit(), wanted)
    check(f"{name}: drawn on the CPU", ids(described, "cpu") == wanted, f"{ids(described, 'cpu')} {wanted}")
    if os.path.exists(stand_in["LLMOPT_LIBCUDA"]):
        check(f"{name}: drawn on the device", ids(described, "cuda") == wanted, f"{ids(described, 'cuda')} {wanted}")
    else:
        say("SKIP", f"{name}: drawn on the device", "the stand-in driver is not built")
    if i == 0:
        place = section(described, "drawn")
        content = bytearray(open(described, "rb").read())
        content[place["offset"] + 5] ^= 1
        open(described, "wb").write(content)
        said = ids(described, "cpu")
        check("a damaged recipe is refused", "E0205" in said, said)
finish()
