# Tiny random models of every architecture, written by transformers, for hf_architectures.py.
#
# A case is (name, config class, model class, config keys, options). Sizes are small, and one of them is odd: heads that are no power of two,
# widths that are no multiple of 8. Options: `data_file` for architectures that llmopt has only as a test's description,
# `v4` to rewrite config.json as transformers 4 wrote it, `stacked` for one tensor of all experts, `mxfp4` for experts as codes, `dtype` and `shards` for how weights are stored.

import json
import os

import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

ODD = dict(hidden_size=42, intermediate_size=53, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=3, vocab_size=59)
GQA = dict(hidden_size=48, intermediate_size=56, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, vocab_size=67)
IDS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=64)

LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)
LINEAR = dict(rope_type="linear", rope_theta=10000.0, factor=3.0)
DYNAMIC = dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0)


def longrope(pairs):
    return dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0 + 0.1 * i for i in range(pairs)],
                long_factor=[2.0 + i for i in range(pairs)], original_max_position_embeddings=48)


def case(name, config, model, keys, **options):
    return dict(name=name, config=config, model=model, keys=keys, options=options)


def decoder(name, prefix, keys, **options):
    model = prefix.removesuffix("Text") + "ForCausalLM"
    return case(name, getattr(tf, prefix + "Config"), getattr(tf, model), {**IDS, **keys}, **options)


GPT2 = dict(n_embd=36, n_layer=2, n_head=3, vocab_size=61, n_positions=64, bos_token_id=1, eos_token_id=2)
BERT = dict(hidden_size=36, intermediate_size=50, num_hidden_layers=2, num_attention_heads=3, vocab_size=61, max_position_embeddings=40)
MODERN = dict(hidden_size=36, intermediate_size=50, num_hidden_layers=4, num_attention_heads=3, vocab_size=61, max_position_embeddings=40, local_attention=10,
              pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
T5 = dict(d_model=33, d_kv=7, d_ff=45, num_layers=2, num_decoder_layers=3, num_heads=3, vocab_size=61, relative_attention_num_buckets=8,
          relative_attention_max_distance=12, decoder_start_token_id=0)

OWN = [
    decoder("llama", "Llama", GQA),
    decoder("llama-odd-v4", "Llama", {**ODD, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, v4=True),
    decoder("llama-llama3-bf16-shards", "Llama", {**GQA, "rope_parameters": LLAMA3, "head_dim": 10}, dtype=torch.bfloat16, shards="20KB"),
    decoder("llama-yarn-f16", "Llama", {**GQA, "rope_parameters": YARN}, dtype=torch.float16),
    decoder("llama-linear-v4", "Llama", {**GQA, "rope_parameters": LINEAR}, v4=True),
    decoder("llama-dynamic", "Llama", {**GQA, "rope_parameters": DYNAMIC}),
    decoder("mistral-window", "Mistral", {**GQA, "sliding_window": 7, "head_dim": 12}),
    decoder("mistral-odd", "Mistral", {**ODD, "sliding_window": None}),
    decoder("qwen2", "Qwen2", ODD),
    decoder("qwen2-window", "Qwen2", {**GQA, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
    decoder("qwen3", "Qwen3", {**GQA, "head_dim": 14, "attention_bias": True, "tie_word_embeddings": True}),
    decoder("qwen3-odd", "Qwen3", {**ODD, "head_dim": 10}),
    decoder("phi3", "Phi3", {**GQA, "sliding_window": 9}),
    decoder("phi3-longrope", "Phi3", {**ODD, "rope_parameters": longrope(7), "original_max_position_embeddings": 48, "max_position_embeddings": 96}),
    decoder("phi3-partial-v4", "Phi3", {**GQA, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}, v4=True),
    decoder("gemma2", "Gemma2", {**GQA, "head_dim": 10, "sliding_window": 6, "query_pre_attn_scalar": 24, "attn_logit_softcapping": 3.0,
                                 "final_logit_softcapping": 5.0}),
    decoder("gemma2-odd", "Gemma2", {**ODD, "head_dim": 14, "sliding_window": 100}),
    decoder("mixtral", "Mixtral", {**GQA, "num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": 9}),
    decoder("mixtral-stacked", "Mixtral", {**ODD, "num_local_experts": 3, "num_experts_per_tok": 3}, stacked=True),
    decoder("qwen2_moe", "Qwen2Moe", {**GQA, "num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 21, "shared_expert_intermediate_size": 25,
                                      "num_hidden_layers": 3, "decoder_sparse_step": 2}),
    decoder("qwen2_moe-stacked-bf16", "Qwen2Moe", {**ODD, "num_experts": 4, "num_experts_per_tok": 1, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 24,
                                                   "norm_topk_prob": True}, stacked=True, dtype=torch.bfloat16),
    decoder("qwen3_moe", "Qwen3Moe", {**GQA, "head_dim": 14, "num_experts": 9, "num_experts_per_tok": 4, "moe_intermediate_size": 19, "norm_topk_prob": True,
                                      "num_hidden_layers": 3, "mlp_only_layers": [1]}),
    decoder("qwen3_moe-odd", "Qwen3Moe", {**ODD, "head_dim": 10, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 33}, dtype=torch.float16),
    decoder("olmoe", "Olmoe", {**GQA, "num_experts": 8, "num_experts_per_tok": 3}),
    case("gpt2", tf.GPT2Config, tf.GPT2LMHeadModel, GPT2),
    case("gpt2-odd", tf.GPT2Config, tf.GPT2LMHeadModel, {**GPT2, "n_embd": 35, "n_head": 5, "n_inner": 51, "scale_attn_by_inverse_layer_idx": True,
                                                         "activation_function": "relu"}),
    case("bert", tf.BertConfig, tf.BertModel, BERT),
    case("bert-masked-lm", tf.BertConfig, tf.BertForMaskedLM, {**BERT, "hidden_size": 35, "num_attention_heads": 5}),
    case("roberta", tf.RobertaConfig, tf.RobertaModel, {**BERT, "type_vocab_size": 1}),
    case("roberta-types", tf.RobertaConfig, tf.RobertaModel, {**BERT, "type_vocab_size": 2}),
    case("distilbert", tf.DistilBertConfig, tf.DistilBertModel, dict(dim=36, hidden_dim=50, n_layers=2, n_heads=3, vocab_size=61, max_position_embeddings=40)),
    case("t5", tf.T5Config, tf.T5ForConditionalGeneration, T5),
    case("t5-gated-bf16", tf.T5Config, tf.T5ForConditionalGeneration, {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
         dtype=torch.bfloat16),
    decoder("olmo2", "Olmo2", GQA),
    decoder("stablelm", "StableLm", {**GQA, "use_qkv_bias": True, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
    decoder("stablelm-parallel", "StableLm", {**GQA, "qk_layernorm": True, "use_parallel_residual": True}),
    decoder("granite", "Granite", {**GQA, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3, "logits_scaling": 2.0}),
    decoder("cohere", "Cohere", GQA),
    decoder("cohere-norms", "Cohere", {**GQA, "use_qk_norm": True, "logit_scale": 0.5}),
    decoder("gpt_neox", "GPTNeoX", {**{k: v for k, v in GQA.items() if k != "num_key_value_heads"},
                                    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
    decoder("gpt_neox-serial", "GPTNeoX", {**{k: v for k, v in ODD.items() if k != "num_key_value_heads"}, "use_parallel_residual": False,
                                           "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.3}}),
    decoder("smollm3", "SmolLM3", {**GQA, "num_hidden_layers": 4, "no_rope_layer_interval": 2}),
    decoder("starcoder2", "Starcoder2", {**GQA, "sliding_window": 8}),
    decoder("phi", "Phi", {**GQA, "qk_layernorm": True}),
    decoder("glm", "Glm", {**GQA, "head_dim": 12}),
    decoder("nemotron", "Nemotron", {**GQA, "head_dim": 8}),
    decoder("gemma3_text", "Gemma3Text", {**GQA, "num_hidden_layers": 3, "head_dim": 10, "sliding_window": 6, "query_pre_attn_scalar": 24,
                                          "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    decoder("exaone4", "Exaone4", {**GQA, "num_hidden_layers": 3, "sliding_window": 6, "sliding_window_pattern": 2}),
    decoder("gemma", "Gemma", {**GQA, "head_dim": 10}),
    decoder("cohere2", "Cohere2", {**GQA, "num_hidden_layers": 5, "sliding_window": 6}),
    decoder("glm4", "Glm4", {**GQA, "head_dim": 12}),
    decoder("olmo", "Olmo", {**GQA, "clip_qkv": 0.7}),
    decoder("olmo3", "Olmo3", {**GQA, "num_hidden_layers": 4, "sliding_window": 6}),
    decoder("olmoe-clip", "Olmoe", {**GQA, "num_experts": 5, "num_experts_per_tok": 2, "clip_qkv": 0.7}),
    decoder("ministral", "Ministral", {**GQA, "head_dim": 10, "sliding_window": 6, "layer_types": ["full_attention", "sliding_attention"]}),
    decoder("ernie4_5", "Ernie4_5", {**GQA, "head_dim": 12, "use_bias": True}),
    decoder("helium", "Helium", {**GQA, "head_dim": 8, "attention_bias": True}),
    decoder("seed_oss", "SeedOss", {**GQA, "head_dim": 10}),
    decoder("arcee", "Arcee", {**GQA, "mlp_bias": True}),
    decoder("granitemoe", "GraniteMoe", {**GQA, "num_local_experts": 5, "num_experts_per_tok": 2, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3,
                                         "logits_scaling": 2.0}),
    decoder("gpt_oss", "GptOss", {**GQA, "num_hidden_layers": 3, "head_dim": 10, "num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": 6, "swiglu_limit": 1.5}),
    decoder("gpt_oss-bf16", "GptOss", {**ODD, "head_dim": 14, "num_local_experts": 4, "num_experts_per_tok": 3, "sliding_window": 9,
                                       "rope_parameters": {**YARN, "truncate": False, "beta_fast": 32.0, "beta_slow": 1.0}}, dtype=torch.bfloat16),
    decoder("gpt_oss-mxfp4", "GptOss", {**GQA, "hidden_size": 64, "intermediate_size": 32, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}, dtype=torch.bfloat16, mxfp4=True),
    case("xlm-roberta", tf.XLMRobertaConfig, tf.XLMRobertaModel, {**BERT, "type_vocab_size": 1, "pad_token_id": 1}),
    case("camembert", tf.CamembertConfig, tf.CamembertModel, {**BERT, "type_vocab_size": 1, "pad_token_id": 1}),
    case("electra", tf.ElectraConfig, tf.ElectraModel, {**BERT, "embedding_size": 22}),
    case("electra-wide", tf.ElectraConfig, tf.ElectraForMaskedLM, {**BERT, "embedding_size": 36}),
    case("mpnet", tf.MPNetConfig, tf.MPNetModel, BERT),
    case("modernbert", tf.ModernBertConfig, tf.ModernBertModel, {**MODERN, "global_attn_every_n_layers": 3}),
    case("modernbert-biases", tf.ModernBertConfig, tf.ModernBertForMaskedLM, {**MODERN, "global_attn_every_n_layers": 2, "norm_bias": True, "attention_bias": True, "mlp_bias": True}),
]

BY_DATA_FILE = [
    case("bloom", tf.BloomConfig, tf.BloomForCausalLM, dict(hidden_size=36, n_layer=2, n_head=6, vocab_size=61)),
    case("bloom-residual", tf.BloomConfig, tf.BloomForCausalLM, dict(hidden_size=32, n_layer=2, n_head=4, vocab_size=61, apply_residual_connection_post_layernorm=True)),
    case("gptj", tf.GPTJConfig, tf.GPTJForCausalLM, dict(n_embd=36, n_layer=2, n_head=3, rotary_dim=8, vocab_size=61, n_positions=64, bos_token_id=1, eos_token_id=2)),
    case("opt", tf.OPTConfig, tf.OPTForCausalLM, dict(hidden_size=36, ffn_dim=50, num_hidden_layers=2, num_attention_heads=3, vocab_size=61,
                                                      word_embed_proj_dim=36, max_position_embeddings=64)),
    case("opt-narrow", tf.OPTConfig, tf.OPTForCausalLM, dict(hidden_size=36, ffn_dim=50, num_hidden_layers=2, num_attention_heads=3, vocab_size=61,
                                                             word_embed_proj_dim=20, do_layer_norm_before=False, max_position_embeddings=64)),
]
for entry in BY_DATA_FILE:
    entry["options"]["data_file"] = True
CASES = OWN + BY_DATA_FILE


def randomize(model, seed):
    """Weights large enough that every feature shows in the logits; the library's own initialization leaves biases 0 and norms 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() >= 2 and "norm" not in name.lower():
            parameter.data = noise * (1.5 / parameter.shape[-1] ** 0.5)
        else:
            parameter.data = parameter.data + 0.3 * noise


def as_transformers_4(folder):
    """config.json in the older spelling: rope_theta and rope_scaling for rope_parameters, torch_dtype for dtype."""
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.41.2"
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    with open(path, "w") as file:
        json.dump(config, file, indent=2)


def with_codes(folder, seed):
    """Experts' matrices drawn as MXFP4: the numbers that the library decodes, which its own model takes, and beside them the tensors of such a checkpoint."""
    path, generator = os.path.join(folder, "model.safetensors"), torch.Generator().manual_seed(seed)
    tensors, codes = load_file(path), {}
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, inputs, outputs = tensors[name].shape
        blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(121, 126, (experts, outputs, inputs // 32), generator=generator, dtype=torch.uint8)
        tensors[name] = convert_moe_packed_tensors(blocks, scales).contiguous()
        codes |= {name + "_blocks": blocks, name + "_scales": scales}
    save_file(tensors, path, metadata={"format": "pt"})
    return {**{name: tensor for name, tensor in tensors.items() if name + "_blocks" not in codes}, **codes}


def as_mxfp4(folder, tensors):
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]}
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=2)


def write(entry, folder, seed):
    """Writes the case's folder; returns the model as the library loads it back, in f32."""
    options = entry["options"]
    torch.manual_seed(seed)
    model = entry["model"](entry["config"](**entry["keys"])).eval()
    randomize(model, seed)
    model.to(options.get("dtype", torch.float32)).save_pretrained(folder, max_shard_size=options.get("shards", "5GB"),
                                                                       save_original_format=not options.get("stacked"))
    if options.get("v4"):
        as_transformers_4(folder)
    codes = with_codes(folder, seed) if options.get("mxfp4") else None
    plain = dict(attn_implementation="eager")
    if "num_experts_per_tok" in entry["keys"]:
        plain["experts_implementation"] = "eager"  # the library's grouped product refuses odd sizes
    loaded = entry["model"].from_pretrained(folder, dtype=torch.float32, **plain).eval()
    if codes:
        as_mxfp4(folder, codes)
    return loaded
