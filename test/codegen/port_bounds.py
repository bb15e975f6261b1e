#!/usr/bin/env python3
# llmopt-test: quick
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The AVX-512 register tiles of projections, assembled on any machine: nothing is spilled in their loops, and in llvm-mca's models a
loop takes little longer than its multiply-adds alone keep their ports busy.

    port_bounds.py [--table]      prints what it found as a table

Needs llvm-mca of LLVM 22 (LLMOPT_MCA, or llvm-mca-22 or llvm-mca on PATH); skips without.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
MCA = os.environ.get("LLMOPT_MCA") or shutil.which("llvm-mca-22") or shutil.which("llvm-mca")
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 512, "intermediate_size": 4096, "num_hidden_layers": 1,
          "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 512, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
          "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "dtype": "float32"}
# Weights and products, what the multiply-add is called, and the least share of the port bound in znver4's model. The model lets a broadcast from
# memory take a port of the multiply-adds; the processor does it in its load unit and runs the same loop at 98 %.
FORMS = {"f32": (["--dtype", "f32"], "vfmadd", 0.75), "bf16, products in f32": (["--dtype", "bf16"], "vfmadd", 0.75), "f16, products in f32": (["--dtype", "f16"], "vfmadd", 0.75),
         "bf16, products in bf16": (["--dtype", "bf16", "--products", "bf16"], "vdpbf16ps", 0.8)}
ITERATIONS = 200


def assembled(folder, flags):
    out = os.path.join(folder, "model.s")
    subprocess.run([os.path.join(BIN, "llmopt-compile"), folder, "-O3", "-q", "--weights", "random:1", "--target", "x86-64-v4-bf16", "--emit", "asm", "-o", out, *flags], check=True)
    return open(out).read()


def tile_loops(text, product):
    """The loops without a jump inside that hold at least 24 multiply-adds on 512 bits: [(function, instructions)]."""
    function, label, body, loops = "", "", [], []
    for line in text.splitlines():
        if found := re.match(r"([A-Za-z_.][\w.$]*):", line):
            if not found[1].startswith(".L"):
                function = found[1]
            label, body = found[1], []
        elif re.match(r"\t[a-z]", line):
            instruction = line.split("#")[0].strip()
            body.append(instruction)
            if instruction.startswith("j"):
                if instruction.split()[-1] == label and sum(i.startswith(product) and "%zmm" in i for i in body) >= 24:
                    loops.append((function, body))
                label, body = "", []
    return [(name, body) for name, body in loops if name.startswith("linear") and "_many" in name]


def cycles(instructions, processor):
    """Of one iteration, in llvm-mca's model."""
    text = "\n".join(i for i in instructions if not i.startswith("j")) + "\n"
    report = subprocess.run([MCA, f"-mcpu={processor}", f"-iterations={ITERATIONS}", "-json"], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(report)["CodeRegions"][0]["SummaryView"]["TotalCycles"] / ITERATIONS


def main():
    if not MCA:
        return print("SKIP port bounds: no llvm-mca") or 0
    failed, rows = 0, []
    for form, (flags, product, least) in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            json.dump(CONFIG, open(os.path.join(folder, "config.json"), "w"))
            loops = tile_loops(assembled(folder, flags), product)
        # The tallest tile of the most panels is where the time is spent.
        most = max((len([i for i in body if i.startswith(product)]) for _, body in loops), default=0)
        spills = [i for _, body in loops for i in body if "(%rsp" in i and "mm" in i]
        shares = {}
        for processor in ("znver4", "sapphirerapids"):
            if body := next((body for _, body in loops if sum(i.startswith(product) for i in body) == most), None):
                shares[processor] = cycles([i for i in body if i.startswith(product)], processor) / cycles(body, processor)
        rows.append((form, most, len(loops), len(spills), shares))
        if most < 48 or spills or shares.get("znver4", 0) < least:
            print(f"FAIL {form}: loops of {most} multiply-adds (48 wanted), {len(spills)} spills ({spills[:3]}), {shares} of the port bound (znver4: at least {least})")
            failed += 1
        else:
            print(f"PASS {form}")
    if "--table" in sys.argv:
        print("| weights | multiply-adds of the largest loop | loops | spills | of the port bound, znver4 | sapphirerapids |\n|---|---|---|---|---|---|")
        for form, most, count, spills, shares in rows:
            print(f"| {form} | {most} | {count} | {spills} | {shares.get('znver4', 0):.0%} | {shares.get('sapphirerapids', 0):.0%} |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
