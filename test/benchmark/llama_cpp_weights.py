#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the weights of a Hugging Face folder as a GGUF file for llama.cpp: models of type llama, qwen3 and gpt2, without a tokenizer.

    llama_cpp_weights.py FOLDER f16|bf16|q8_0|q4_0 OUT.gguf

Needs gguf, torch and transformers from PyPI.
"""
import argparse
import os

import gguf
import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoConfig

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen3": gguf.MODEL_ARCH.QWEN3, "gpt2": gguf.MODEL_ARCH.GPT2}


def arranged(key, value, config):
    """A weight as llama.cpp wants it. In its llama rotary pairs lie side by side, in checkpoints half a head apart; GPT-2's checkpoints hold matrices
    of linear layers transposed."""
    if config.model_type == "llama":
        for part, count in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in key:
                return value.reshape(count, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
    if config.model_type == "gpt2" and ".c_" in key and value.dim() == 2:
        return value.T.contiguous()
    return value


def write_gguf(folder, path, element):
    """Matrices in `element` (f16, bf16, or blocks of 32: q8_0, q4_0), vectors in f32. Beside blocks the table of embeddings is f16, and stored a second time, in blocks,
    where it is the output projection too: as llmopt's --dtype=int8 and int4 have it."""
    config = AutoConfig.from_pretrained(folder)
    if config.model_type not in ARCHITECTURES:
        raise SystemExit(f"{folder}: type {config.model_type} is none of {', '.join(ARCHITECTURES)}")
    architecture, layers = ARCHITECTURES[config.model_type], config.num_hidden_layers
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    names = gguf.get_tensor_name_map(architecture, layers)
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as tensors:
        for key in tensors.keys():
            value = arranged(key, tensors.get_tensor(key).float(), config)
            name = names.get_name(key, try_suffixes=(".weight", ".bias"))
            blocks, table = element.startswith("q") and value.dim() == 2, name == "token_embd.weight"
            if value.dim() == 1:
                writer.add_tensor(name, value.numpy())
            elif element == "f16" or (blocks and table):
                writer.add_tensor(name, value.to(torch.float16).numpy())
            elif element == "bf16":
                bits = value.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
                writer.add_tensor(name, bits.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
            if blocks and (not table or config.tie_word_embeddings):
                kind = gguf.GGMLQuantizationType[element.upper()]
                writer.add_tensor(name.replace("token_embd", "output"), gguf.quants.quantize(value.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("element", choices=["f16", "bf16", "q8_0", "q4_0"])
    parser.add_argument("out")
    arguments = parser.parse_args()
    write_gguf(arguments.folder, arguments.out, arguments.element)
