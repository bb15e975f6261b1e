# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs llmopt's programs on bad input and holds every answer to the same rules: the exit status, one error that says the
text, nothing on standard output, no output file (whole or partial), no crash, no more memory than a function of the input.

LLMOPT_SANITIZED=1 (set by `tools/test.sh asan`): memory is the sanitizer's, so it is not judged."""
import contextlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build"))
DATA = os.environ.get("LLMOPT_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))
SANITIZED = os.environ.get("LLMOPT_SANITIZED") == "1"
CRASHES = re.compile(r"Sanitizer|runtime error:|Stack dump|PLEASE submit|Assertion|terminate called|core dumped", re.I)
FAST = ["-O0", "--target", "x86-64", "--progress", "none"]
failures = 0


def program(name):
    return os.path.join(BUILD, "bin", "llmopt-" + name)


def execute(command, env=None, timeout=300, **kwargs):
    """Exit status (negative: the signal), stdout, stderr, and the most memory it had, in bytes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 env=dict(os.environ, **(env or {})), **kwargs)
        watchdog = threading.Timer(timeout, child.kill)
        watchdog.start()
        _, status, usage = os.wait4(child.pid, 0)
        watchdog.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return child.returncode, *texts, usage.ru_maxrss * 1024


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="llmopt-bad-") as path:
        yield path


def path_of(where, name, data=None):
    path = os.path.join(where, name)
    if data is not None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
    return path


def size_of(path):
    if os.path.isdir(path):
        return sum(size_of(entry.path) for entry in os.scandir(path))
    return os.stat(path).st_size if os.path.exists(path) else 0


def report(row, name, problem):
    global failures
    failures += bool(problem)
    print(f"FAIL {row}_{name} {problem}" if problem else f"PASS {row}_{name}", flush=True)


def finish():
    sys.exit(1 if failures else 0)


def judge_error(status, wanted, out, err, texts):
    if CRASHES.search(err) or status < 0 or status == 70:
        return f"crashed ({status}): {err[-600:]}"
    if status != wanted:
        return f"exit status {status}, not {wanted}: {err[-400:]}"
    if out:
        return f"standard output is not empty: {out[:200]}"
    if len(re.findall(r"^error\[E\d{4}\]: \S", err, re.M)) != 1 or not err.startswith("error["):
        return f"not one error: {err[:400]}"
    for text in texts:
        if text not in err:
            return f"the error does not say '{text}': {err[:600]}"
    return None


def judge_success(status, err):
    return f"exit status {status}: {err[-600:]}" if status or CRASHES.search(err) else None


idle_memory = None


def judge_memory(memory, given):
    global idle_memory
    if SANITIZED:
        return None
    if idle_memory is None:
        idle_memory = execute([program("compile"), "--list-targets"])[3]
    limit = idle_memory + (64 << 20) + 2 * given
    return f"used {memory >> 20} MiB; {limit >> 20} are allowed" if memory > limit else None


def refused(row, name, command, wanted, *texts, given=0, **kwargs):
    """A command that must fail with this status and an error with these texts."""
    status, out, err, memory = execute(command, **kwargs)
    report(row, name, judge_error(status, wanted, out, err, texts) or judge_memory(memory, given))


def accepted(row, name, command, **kwargs):
    status, out, err, _ = execute(command, **kwargs)
    report(row, name, judge_success(status, err))
    return out, err


def compile_command(model, artifact, *flags):
    return [program("compile"), model, "-o", artifact, *FAST, *flags]


def compile_refused(row, name, model, wanted, *texts, flags=(), memory=True, **kwargs):
    """Compiling must fail so, leave the output folder as it was, and keep an artifact that was there before."""
    with folder() as out:
        artifact = path_of(out, "model.llmopt", b"the old file")
        status, text, err, used = execute(compile_command(model, artifact, *flags), **kwargs)
        problem = judge_error(status, wanted, text, err, texts)
        if not problem and (os.listdir(out) != ["model.llmopt"] or open(artifact, "rb").read() != b"the old file"):
            problem = f"the output folder has changed: {os.listdir(out)}"
        if not problem and memory:
            problem = judge_memory(used, size_of(model))
        report(row, name, problem)


def compile_accepted(row, name, model, *flags, says=""):
    with folder() as out:
        artifact = path_of(out, "model.llmopt")
        status, _, err, _ = execute(compile_command(model, artifact, *flags))
        problem = judge_success(status, err)
        if not problem and says not in err:
            problem = f"does not say '{says}': {err[:400]}"
        if not problem and not os.path.exists(artifact):
            problem = "there is no artifact"
        report(row, name, problem)


# ---------------------------------------------------------------------------------------------------------------------
# A tiny Llama as a Hugging Face folder
# ---------------------------------------------------------------------------------------------------------------------

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 1,
          "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 7, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
          "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": False, "eos_token_id": 2, "bos_token_id": 1}
LAYER = "model.layers.0."
SHAPES = {"model.embed_tokens.weight": [7, 16], "model.norm.weight": [16], "lm_head.weight": [7, 16], LAYER + "input_layernorm.weight": [16],
          LAYER + "post_attention_layernorm.weight": [16], LAYER + "self_attn.q_proj.weight": [16, 16], LAYER + "self_attn.k_proj.weight": [8, 16],
          LAYER + "self_attn.v_proj.weight": [8, 16], LAYER + "self_attn.o_proj.weight": [16, 16], LAYER + "mlp.gate_proj.weight": [12, 16],
          LAYER + "mlp.up_proj.weight": [12, 16], LAYER + "mlp.down_proj.weight": [16, 12]}
VOCABULARY = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5, "c": 6}


def tensors(shapes=SHAPES, change=None):
    """The bytes of a safetensors file; `change` edits the header."""
    header, at, values = {}, 0, []
    for seed, (name, shape) in enumerate(shapes.items()):
        count = 1
        for dim in shape:
            count *= dim
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * count]}
        at += 4 * count
        values += [((seed * 31 + i * 17) % 23 - 11) / 16 for i in range(count)]
    if change:
        change(header)
    return header_bytes(json.dumps(header)) + struct.pack(f"<{len(values)}f", *values)


def header_bytes(text):
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text)) + text


def tokenizer(**changes):
    model = {"type": "BPE", "vocab": VOCABULARY, "merges": ["a b"], "unk_token": "<unk>"}
    model.update(changes.pop("model", {}))
    return json.dumps(dict({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
                            "decoder": None, "model": model}, **changes))


@contextlib.contextmanager
def llama(config=None, weights=None, files=None):
    """A folder with the tiny model. `files`: name -> text or bytes, None leaves the file away."""
    contents = {"config.json": json.dumps(dict(CONFIG, **(config or {}))), "model.safetensors": weights or tensors(), "tokenizer.json": tokenizer()}
    contents.update(files or {})
    with folder() as where:
        model = os.path.join(where, "model")
        os.makedirs(model)
        for name, data in contents.items():
            if data is not None:
                path_of(model, name, data)
        yield model


def compiled(where, *flags):
    """The tiny model as an artifact."""
    with llama() as model:
        artifact = path_of(where, "good.llmopt")
        status, _, err, _ = execute(compile_command(model, artifact, *flags))
        if status:
            report("setup", "compile", err)
            finish()
        return artifact


def copied(artifact, where, name="copy.llmopt"):
    return shutil.copy(artifact, os.path.join(where, name))
