#!/usr/bin/env python3
# llmopt-test: quick
"""What is compiled and what its inputs may be: a model's name in the hub's cache, --max-seq-len, and sizes that do not fit together, which
are an error and no read outside of a buffer."""
import json
import os
import struct

from harness import ROOT, check, compile_model, finish, scratch, tool

STORY = os.path.join(ROOT, "test", "models", "storyteller")


def npy(name, *shape):
    """A file of zeros."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    count = 1
    for dim in shape:
        count *= dim
    with open(scratch(name), "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(4 * count))
    return scratch(name)


# Arithmetic that none of the weights suit is no error, but is not passed over in silence.
for products in ("bf16", "int8"):
    arguments = (STORY, f"--products={products}", "--target", "x86-64-v3", "-q", "-o", scratch("products.llmopt"))
    code, _, errors = tool("llmopt-compile", *arguments, "--dtype=f32")
    check(f"--products={products} with weights in f32 is warned of", code == 0 and f"--products={products}" in errors and f"--dtype={products}" in errors, errors)
    code, _, errors = tool("llmopt-compile", *arguments, f"--dtype={products}")
    check(f"--products={products} with --dtype={products} is not", code == 0 and not errors, errors)
code, _, errors = tool("llmopt-compile", STORY, "--products=int8", "--dtype=int8", "--target", "sm_90", "--cuda-compiler=llvm", "-q", "-o", scratch("products.llmopt"))
check("--products=int8 for a GPU is warned of", code == 0 and "--products=int8 is for processors" in errors, errors)

# Nor is what --dtype does not round.
for name, sizes, target, wanted in (("experts", dict(hidden_size=64, intermediate_size=64), "sm_90", "experts are rounded for processors only"), ("no-blocks", dict(hidden_size=72, intermediate_size=64), "x86-64-v3", "multiple of 32"),
                                    ("blocks", dict(hidden_size=64, intermediate_size=64), "x86-64-v3", None)):
    os.makedirs(scratch(name))
    json.dump(dict(model_type="mixtral", architectures=["MixtralForCausalLM"], num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, num_local_experts=4,
                   num_experts_per_tok=2, vocab_size=31, max_position_embeddings=16, rms_norm_eps=1e-6, hidden_act="silu", **sizes), open(os.path.join(scratch(name), "config.json"), "w"))
    code, _, errors = tool("llmopt-compile", scratch(name), "--weights", "random:1", "--dtype=int4", "--target", target, "--compile-to=planned", "-q", "-o", scratch("kept.mlir"))
    check(f"--dtype=int4 of {name} {'is' if wanted else 'is not'} warned of", code == 0 and ("--dtype=int4" in errors and wanted in errors if wanted else not errors), errors)

# A name in the hub's cache.
model = os.path.join(scratch("hub"), "models--org--story-1.5")
os.makedirs(os.path.join(model, "refs"))
os.makedirs(os.path.join(model, "snapshots"))
open(os.path.join(model, "refs", "main"), "w").write("0a1b\n")
os.symlink(STORY, os.path.join(model, "snapshots", "0a1b"))
environment = {"HF_HUB_CACHE": scratch("hub")}
code, _, errors = tool("llmopt-compile", "org/story-1.5", "-O1", "-q", "-o", scratch("hub.llmopt"), env=environment)
check("hub cache name", code == 0 and os.path.exists(scratch("hub.llmopt")), f"exit {code}: {errors[:300]}")
code, _, errors = tool("llmopt-compile", "org/other", "-q", "-o", scratch("other.llmopt"), env=environment)
check("hub cache without the model", code == 1 and "no such file or folder" in errors and "models--org--other" in errors, f"exit {code}: {errors[:300]}")

# The longest sequence.
artifact = compile_model(STORY, "short", "-O1", "--max-seq-len", 40)
if artifact:
    code, text, errors = tool("llmopt-run", artifact, "--ids", "1", "-n", 100, "--ignore-eos", "--print-ids", "--no-echo")
    check("--max-seq-len ends an answer", code == 0 and len(text.split()) == 40, f"exit {code}, {len(text.split())} ids {errors[:200]}")
    code, _, errors = tool("llmopt-run", artifact, "--ids", " ".join(["1"] * 41), "-n", 1)
    check("--max-seq-len refuses a longer prompt", code == 4 and "40" in errors, f"exit {code}: {errors[:200]}")
code, _, errors = tool("llmopt-compile", STORY, "--max-seq-len", 10**6, "-q", "-o", scratch("long.llmopt"))
check("--max-seq-len beyond the model's", code == 2 and "1000000" in errors and not os.path.exists(scratch("long.llmopt")), f"exit {code}: {errors[:200]}")

# A target named twice is compiled once.
twice = compile_model(STORY, "twice", "-O1", "--target", "x86-64-v3", "--target", "x86-64-v3")
if twice:
    code, text, errors = tool("llmopt-inspect", twice)
    check("a target named twice is in the file once", code == 0 and text.count(b"code/x86-64-v3 ") == 1, f"exit {code}: {errors[:200]}")

# Sizes that must fit.
with open(scratch("sizes.mlir"), "w") as file:
    file.write('''
func.func @main(%x: tensor<?x4xf32> {llm.name = "x", llm.dims = ["a", 4]}, %y: tensor<?x4xf32> {llm.name = "y", llm.dims = ["b", 4]},
                %z: tensor<?xf32> {llm.name = "z", llm.dims = ["c"]})
    -> (tensor<?x4xf32> {llm.name = "sum"}, tensor<?x?xf32> {llm.name = "product"}, tensor<?xf32> {llm.name = "part"}) {
  %sum = llm.add %x, %y : tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32> loc("Add_1")
  %t = llm.transpose %y permutation = [1, 0] : tensor<?x4xf32> -> tensor<4x?xf32>
  %product = llm.matmul %x, %t : tensor<?x4xf32>, tensor<4x?xf32> -> tensor<?x?xf32>
  %table = llm.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
  %shape = llm.shape %z : tensor<?xf32> -> tensor<1xi64>
  %zero = llm.constant dense<0> : tensor<1xi64>
  %part = llm.slice %table, %zero, %shape axes = [0] steps = [1] : tensor<8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?xf32> loc("Slice_2")
  return %sum, %product, %part : tensor<?x4xf32>, tensor<?x?xf32>, tensor<?xf32>
}
''')
CASES = [((3, 3, 8), ""), ((3, 1, 0), ""), ((1, 5, 1), ""), ((3, 2, 1), "Add_1"), ((5, 3, 1), "Add_1"), ((3, 3, 9), "Slice_2")]
for level in ("-O0", "-O3"):
    artifact = compile_model(scratch("sizes.mlir"), f"sizes{level}", level)
    for (a, b, c), node in CASES if artifact else ():
        inputs = ["x=@" + npy("x.npy", a, 4), "y=@" + npy("y.npy", b, 4), "z=@" + npy("z.npy", c)]
        code, _, errors = tool("llmopt-run", artifact, *[word for value in inputs for word in ("--input", value)])
        good = code == 1 and "E1512" in errors and node in errors if node else code == 0
        check(f"sizes {a} {b} {c} {level} {'refused' if node else 'accepted'}", good, f"exit {code}: {errors[:300]}")
finish()
