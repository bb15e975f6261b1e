#!/usr/bin/env python3
# llmopt-test: quick
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows B (Hugging Face folders) and D (tokenizers) of docs/BadInput.md through llmopt-compile."""
import json
import os
import struct

from harness import (CONFIG, LAYER, SHAPES, VOCABULARY, accepted, compile_accepted, compile_refused, compiled, copied, execute, finish, folder,
                     header_bytes, llama, path_of, program, refused, report, tensors, tokenizer)


def check(row, name, wanted, *texts, config=None, weights=None, files=None, **kwargs):
    with llama(config, weights, files) as model:
        if wanted:
            compile_refused(row, name, model, wanted, *texts, **kwargs)
        else:
            compile_accepted(row, name, model, says="".join(texts))


def headers():
    good = tensors()
    for count in (0, 7):
        check("B01", f"{count}_bytes", 1, f"{count} bytes", "model.safetensors", files={"model.safetensors": good[:count]})
    check("B01", "8_bytes", 1, "must begin with '{'", weights=bytes(8))
    for length, text in ((1, "expected"), (1 << 63, "over the limit"), (100_000_001, "over the limit of 100000000"),
                         (len(good), "beyond the end of the file")):
        check("B01", f"length_{length}", 1, text, weights=struct.pack("<Q", length) + good[8:])
    for name, text, says in (("not_utf8", b'{"\xff":1}', "not UTF-8"), ("bom", b"\xef\xbb\xbf{}", "must begin with '{'"),
                             ("space", b" {}", "must begin with '{'"), ("bracket", b"[]", "must begin with '{'")):
        check("B02", name, 1, says, weights=header_bytes(text))
    entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    check("B04", "duplicate", 1, "duplicate key 'w'", weights=header_bytes('{"w":%s,"w":%s}' % (entry, entry)) + b"x")

    def moved(name, begin, end):
        def change(header):
            header[name]["data_offsets"] = [header[name]["data_offsets"][0] + begin, header[name]["data_offsets"][1] + end]
        return tensors(change=change)
    norm = "model.norm.weight"
    check("B05", "overlap", 1, "overlap", weights=moved(norm, -4, -4))
    check("B05", "hole", 1, "hole", weights=moved(norm, 4, 4))
    check("B05", "reversed", 1, "begin <= end", weights=moved(norm, 0, -65))
    check("B05", "trailing", 1, "the tensors end at byte", weights=good + b"PK\x05\x06")
    empty = dict(SHAPES, extra=[0, 5], scalar=[])
    check("B07", "empty_and_scalar", 0, weights=tensors(empty))

    def typed(dtype):
        def change(header):
            header[norm]["dtype"] = dtype
        return tensors(change=change)
    for dtype in ("F32 ", "f32", "F7"):
        check("B08", f"dtype_{dtype.strip()}", 1, "unknown dtype", norm, weights=typed(dtype))
    check("B08", "odd_f4", 1, "not a whole number of bytes",
          weights=header_bytes('{"w":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}') + b"x")


def shards():
    def index(target, names=SHAPES):
        return json.dumps({"weight_map": {name: target for name in names}})

    def indexed(text, **files):
        return {"model.safetensors": None, "model.safetensors.index.json": text, "a.safetensors": tensors(), **files}
    check("B10", "good", 0, files=indexed(index("a.safetensors")))
    for name, target in (("dot_dot", "../../x"), ("absolute", "/etc/passwd")):
        check("B10", name, 1, "is not the bare name of a file", files=indexed(index(target)))
    check("B10", "missing_shard", 1, "b.safetensors", files=indexed(index("b.safetensors")))
    check("B10", "tensor_in_two", 1, "is in two shards", files=indexed(
        json.dumps({"weight_map": {"lm_head.weight": "a.safetensors", "x": "b.safetensors"}}), **{"b.safetensors": tensors({"lm_head.weight": [7, 16]})}))
    check("B10", "not_in_shard", 1, "but it is missing", files=indexed(index("a.safetensors", list(SHAPES) + ["ghost.weight"])))
    # Names for tensors that are not there: told once, in linear time; beyond 16 MiB the file is not read at all.
    for count, wanted, text in ((300_000, 1, "but it is missing"), (1_000_000, 4, "the limit is 16777216")):
        names = ",".join('"t%d":"a.safetensors"' % i for i in range(count))
        check("B10", f"{count}_entries", wanted, text, files=indexed('{"weight_map":{%s}}' % names), memory=False)


def models():
    without = {name: shape for name, shape in SHAPES.items() if name != LAYER + "self_attn.q_proj.weight"}
    check("B11", "missing_tensor", 1, LAYER + "self_attn.q_proj.weight", "[16, 16]", weights=tensors(without))
    check("B11", "shape", 1, LAYER + "self_attn.q_proj.weight", "[16, 16]", "[16, 15]",
          weights=tensors(dict(SHAPES, **{LAYER + "self_attn.q_proj.weight": [16, 15]})))
    check("B11", "extra_tensor", 0, "surplus.weight", weights=tensors(dict(SHAPES, **{"surplus.weight": [3]})))
    check("B13", "unknown_type", 3, "frobnicator", "known types:", "llama", config={"model_type": "frobnicator"})
    check("B13", "auto_map", 3, "custom code models", config={"model_type": "mine", "auto_map": {"AutoModel": "m.X"}})
    for name in ("pytorch_model.bin", "model.pt"):
        check("B14", name, 1, "pickle weights are refused", "save_pretrained", files={"model.safetensors": None, name: b"PK"})
    check("B16", "tied_but_different", 0, "lm_head.weight", config={"tie_word_embeddings": True})
    check("B17", "eos_outside", 1, "outside of the vocabulary of 7", config={"eos_token_id": [2, 7]})
    check("B17", "no_generation_config", 0)


def faults():
    """Rows B19 and E10: each file of a model, and the artifact, fails in the middle of being read."""
    with folder() as where:
        library = os.path.join(where, "fault.so")
        status, _, err, _ = execute(["clang-22", "-shared", "-fPIC", "-O1", os.path.join(os.path.dirname(__file__), "fault.c"), "-o", library, "-ldl"])
        report("B19", "setup", err if status else None)

        def fault(path, at):
            return {"LD_PRELOAD": library, "FAULT_FILE": path, "FAULT_AT": str(at),
                    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
        texts = {"config.json": json.dumps(CONFIG), "generation_config.json": "{}", "tokenizer.json": tokenizer()}
        files = {name: text + " " * 20000 for name, text in texts.items()} # so that the fault lies on a page of its own
        for name, at in (("model.safetensors", 0), ("model.safetensors", 4096), ("config.json", 4096), ("generation_config.json", 4096),
                         ("tokenizer.json", 4096)):
            with llama(files=files) as model:
                compile_refused("B19", f"{name}_{at}", model, 1, "error[E01", name, str(at), memory=False, env=fault(os.path.join(model, name), at))
        artifact = compiled(where)
        layout = json.loads(open(artifact, "rb").read()[64:16384].split(b"\0")[0])
        for section in layout["sections"]:
            copy = copied(artifact, where)
            refused("E10", "cut_at_" + section["name"].split("/")[0], [program("run"), copy, "--ids", "1 3", "-n", "4"], 1, "E0105", "copy.llmopt",
                    env=fault(copy, section["offset"]))


def tokenizers():
    def bad(row, name, text, *says, status=1, **kwargs):
        check(row, name, status, *says, files={"tokenizer.json": text}, **kwargs)
    vocabulary = lambda **more: {"vocab": dict(VOCABULARY, **more)}
    bad("D01", "depth", "[" * 100000, "nesting")
    with llama() as model:
        os.truncate(os.path.join(model, "tokenizer.json"), 300 << 20)
        compile_refused("D01", "300_MB", model, 1, "tokenizer.json", memory=False)
    for name, token in (("duplicate", 6), ("gap", 8), ("negative", -1), ("2_31", 1 << 31)):
        bad("D01", name, tokenizer(model=vocabulary(d=token)), "tokenizer.json")
    bad("D02", "unknown_part", tokenizer(model={"merges": ["a x"]}), "'x'")
    bad("D02", "self_merge", tokenizer(model={"merges": ["a a"]}), "'aa'")
    letters = [chr(0x4e00 + i) for i in range(300)]
    pairs = [(a, b) for a in letters for b in letters]
    many = {word: i for i, word in enumerate(letters + [a + b for a, b in pairs])}
    check("D02", "90000_merges", 0, files={"tokenizer.json": tokenizer(model={"vocab": many, "unk_token": None, "merges": pairs})})
    bad("D04", "pre_tokenizer", tokenizer(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Foo"}]}),
        "pre_tokenizer.pretokenizers[1].type", status=3)
    added = lambda content, index: {"id": index, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                                    "special": True}
    bad("D07", "empty", tokenizer(added_tokens=[added("", 6)]), "added_tokens[0].content")
    check("D07", "prefixes", 0, files={"tokenizer.json": tokenizer(
        model={"vocab": dict(VOCABULARY)}, added_tokens=[added("<a>", 7), added("<a><b>", 8)])}, config={"vocab_size": 9},
          weights=tensors(dict(SHAPES, **{"model.embed_tokens.weight": [9, 16], "lm_head.weight": [9, 16]})))
    with folder() as where:
        artifact = compiled(where)
        texts = {"invalid_utf8": b"a\xff\xfeb", "surrogate": b"a\xed\xa0\x80", "nul": b"a\0b", "last": "\U0010ffff".encode(), "one_letter": b"a" * 60}
        for name, text in texts.items():
            out, _ = accepted("D05", name, [program("run"), artifact, "--prompt-file", path_of(where, "prompt", text), "-n", "2", "--print-ids"])
            report("D05", name + "_ids", None if out.split() else "no ids")
        # Far more tokens than the context: told, after linear work.
        refused("D05", "1_MB", [program("run"), artifact, "--prompt-file", path_of(where, "prompt", b"ab" * (1 << 19)), "-n", "2"], 4, "context",
                given=16 << 20)
        for ids in ("7", "-1", "2147483647"):
            refused("D08", f"id_{ids}", [program("run"), artifact, "--ids", f"1 {ids}"], 1, "outside the vocabulary")


# The largest inputs last: a child's memory is counted from that of its parent.
for part in (headers, models, faults, tokenizers, shards):
    part()
finish()
