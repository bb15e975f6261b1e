# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small transformers with random weights, one for each architecture, as modules that take and give tensors.

What onnx_exports.py exports. Sizes are odd here and there, so that nothing fits by accident.
"""
import dataclasses
import inspect
from typing import Callable

import torch
import transformers
from torch.export import Dim
from transformers import DynamicCache

SMALL = dict(vocab_size=97, hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=50, max_position_embeddings=64)
GROUPED = SMALL | dict(hidden_size=40, num_attention_heads=4, num_key_value_heads=2, head_dim=10, pad_token_id=0, bos_token_id=1, eos_token_id=2)


@dataclasses.dataclass
class Case:
    """`wrap` makes the module; the rest says what must be found in phase Fused."""

    name: str
    wrap: type
    model: Callable
    attentions: int = 2
    ropes: int = 0  # queries and keys count apart
    gated: int = 0  # MLPs whose activation multiplies
    causal: int = 0  # attentions that see what came before by attribute, not by a mask that they read
    kept: dict = dataclasses.field(default_factory=dict)  # operations that are no part of those: {name: how many at most}
    attention: str = "sdpa"
    apart: dict = dataclasses.field(default_factory=dict)  # why an exporter's graph is known not to fuse

    def module(self):
        torch.manual_seed(0)
        model = self.model(attn_implementation=self.attention).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                # Norms with weights other than one, biases other than zero; matrices so that activations keep their size.
                spread = 0.1 if parameter.dim() < 2 else 1.5 * parameter.shape[-1] ** -0.5
                parameter.copy_((1.0 if parameter.dim() < 2 and "norm" in name.lower() and "bias" not in name else 0.0) + spread * torch.randn(parameter.shape))
        return self.wrap(model).eval()


def plain(cls, config, **sizes):
    """A model by the names of its class and of its configuration."""
    return lambda **more: getattr(transformers, cls)(getattr(transformers, config)(**sizes, **more))


class Wrapped(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.config = model.config
        self.taken = set(inspect.signature(model.forward).parameters)


class TextEncoder(Wrapped):
    shapes = ((1, 7), (3, 9))
    names, outputs = ["input_ids", "attention_mask"], ["last_hidden_state"]

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    def inputs(self, batch, length, generator):
        mask = torch.ones(batch, length, dtype=torch.int64)
        mask[0, length - length // 3:] = 0  # padding on the right
        return torch.randint(3, self.config.vocab_size, (batch, length), generator=generator), mask

    def example(self, generator):
        return self.inputs(2, 5, generator)

    def axes(self, name):
        return {0: "batch", 1: "sequence"}

    def dynamic_shapes(self, example):
        dims = {name: Dim(name) for name in ("batch", "sequence", "target")}
        return tuple({axis: dims[dim] for axis, dim in self.axes(name).items()} for name in self.names)


class Prompt(TextEncoder):
    """A decoder without cache and without padding."""

    names = ["input_ids"]

    def forward(self, input_ids):
        return self.model(input_ids=input_ids, use_cache=False).last_hidden_state

    def inputs(self, batch, length, generator):
        return super().inputs(batch, length, generator)[:1]


class Pixels(Wrapped):
    """The size of images is part of the model, their number is not."""

    shapes = ((1,), (3,))
    names, outputs = ["pixel_values"], ["last_hidden_state"]

    def forward(self, pixel_values):
        return self.model(pixel_values=pixel_values).last_hidden_state

    def inputs(self, batch, generator):
        return (torch.randn(batch, 3, self.config.image_size, self.config.image_size, generator=generator),)

    def example(self, generator):
        return self.inputs(2, generator)

    def axes(self, name):
        return {0: "batch"}

    def dynamic_shapes(self, example):
        return ({0: Dim("batch")},)


class PooledPixels(Pixels):
    outputs = ["pooler_output"]

    def forward(self, pixel_values):
        return self.model(pixel_values=pixel_values).pooler_output


class Spectrogram(Pixels):
    names = ["input_features"]

    def forward(self, input_features):
        return self.model(input_features).last_hidden_state

    def inputs(self, batch, generator):
        return (torch.randn(batch, self.config.num_mel_bins, 2 * self.config.max_source_positions, generator=generator),)


class Waveform(Pixels):
    """Windows over samples: the number of tokens is computed from theirs."""

    names, shapes = ["input_values"], ((1, 400), (3, 731))

    def forward(self, input_values):
        return self.model(input_values).last_hidden_state

    def inputs(self, batch, samples, generator):
        return (torch.randn(batch, samples, generator=generator),)

    def example(self, generator):
        return self.inputs(2, 500, generator)

    def axes(self, name):
        return {0: "batch", 1: "samples"}

    def dynamic_shapes(self, example):
        return ({0: Dim("batch"), 1: Dim("samples")},)


class EncoderDecoder(TextEncoder):
    """Source and target at once, without a cache."""

    shapes = ((1, 7, 4), (3, 9, 2))
    names = ["input_ids", "attention_mask", "decoder_input_ids"]

    def forward(self, input_ids, attention_mask, decoder_input_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=decoder_input_ids,
                          use_cache=False).last_hidden_state

    def inputs(self, batch, length, target, generator):
        return *super().inputs(batch, length, generator), torch.randint(3, self.config.vocab_size, (batch, target), generator=generator)

    def example(self, generator):
        return self.inputs(2, 5, 3, generator)

    def axes(self, name):
        return {0: "batch", 1: "sequence" if name in ("input_ids", "attention_mask") else "target"}


class SpeechToText(Pixels):
    names = ["input_features", "decoder_input_ids"]
    shapes = ((1, 4), (3, 2))

    def forward(self, input_features, decoder_input_ids):
        return self.model(input_features=input_features, decoder_input_ids=decoder_input_ids, use_cache=False).last_hidden_state

    def inputs(self, batch, target, generator):
        features = torch.randn(batch, self.config.num_mel_bins, 2 * self.config.max_source_positions, generator=generator)
        return features, torch.randint(3, self.config.vocab_size, (batch, target), generator=generator)

    def example(self, generator):
        return self.inputs(2, 3, generator)

    def axes(self, name):
        return {0: "batch"} if name == "input_features" else {0: "batch", 1: "target"}

    def dynamic_shapes(self, example):
        batch = Dim("batch")
        return {0: batch}, {0: batch, 1: Dim("target")}


class Decoder(Wrapped):
    """The cache as a flat list: key, value, key, value ..."""

    shapes = ((1, 7, 0), (2, 1, 9), (3, 4, 5))

    def __init__(self, model):
        super().__init__(model)
        cache = [f"{i}.{part}" for i in range(self.config.num_hidden_layers) for part in ("key", "value")]
        self.has_positions = "position_ids" in self.taken
        self.names = ["input_ids", "attention_mask"] + ["position_ids"] * self.has_positions + [f"past_key_values.{n}" for n in cache]
        self.outputs = ["logits"] + [f"present.{n}" for n in cache]

    def forward(self, input_ids, attention_mask, *rest):
        cache, past = DynamicCache(), rest[-1]  # without the configuration: windows do not shorten it
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        more = {"position_ids": rest[0]} if self.has_positions else {}
        result = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True, **more)
        return result.logits, *[t for layer in result.past_key_values.layers for t in (layer.keys, layer.values)]

    def inputs(self, batch, length, past, generator):
        config = self.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        cache = [torch.randn(batch, heads, past, size, generator=generator) for _ in range(2 * config.num_hidden_layers)]
        mask = torch.ones(batch, past + length, dtype=torch.int64)
        positions = torch.arange(past, past + length).repeat(batch, 1)
        if batch > 2 and past + length > 2:  # one row padded on the left
            mask[0, :2] = 0
            positions[0] = (positions[0] - 2).clamp(min=1)
        ids = torch.randint(3, config.vocab_size, (batch, length), generator=generator)
        return (ids, mask, positions, cache) if self.has_positions else (ids, mask, cache)

    def example(self, generator):
        return self.inputs(2, 3, 4, generator)

    def axes(self, name):
        if name.startswith(("past", "present")):
            return {0: "batch", 2: "past" if name.startswith("past") else "past + sequence"}
        return {0: "batch", 1: "past + sequence" if name == "attention_mask" else "sequence"}

    def dynamic_shapes(self, example):
        batch, sequence, past = Dim("batch"), Dim("sequence"), Dim("past")
        rows = ({0: batch, 1: sequence}, {0: batch, 1: Dim.DYNAMIC}) + (({0: batch, 1: sequence},) if self.has_positions else ())
        cache = [{0: batch, 2: past} for _ in example[-1]]
        return {"input_ids": rows[0], "attention_mask": rows[1], "rest": (*rows[2:], cache)}


def cases():
    for attention in ("eager", "sdpa"):
        yield Case(f"bert-{attention}", TextEncoder, plain("BertModel", "BertConfig", **SMALL), attention=attention)
        yield Case(f"gpt2-{attention}", Decoder,
                   plain("GPT2LMHeadModel", "GPT2Config", vocab_size=97, n_embd=36, n_layer=2, n_head=3, n_positions=64), attention=attention)
        yield Case(f"llama-{attention}", Decoder, plain("LlamaForCausalLM", "LlamaConfig", **GROUPED), ropes=4, gated=2, attention=attention)

    # Encoders.
    yield Case("roberta", TextEncoder, plain("RobertaModel", "RobertaConfig", **SMALL))
    yield Case("distilbert", TextEncoder, plain("DistilBertModel", "DistilBertConfig", vocab_size=97, dim=36, n_layers=2, n_heads=3, hidden_dim=50,
                                                max_position_embeddings=64))
    yield Case("albert", TextEncoder, plain("AlbertModel", "AlbertConfig", **SMALL, embedding_size=20))
    yield Case("electra", TextEncoder, plain("ElectraModel", "ElectraConfig", **SMALL, embedding_size=20))
    yield Case("mpnet", TextEncoder, plain("MPNetModel", "MPNetConfig", **SMALL), attention="eager")
    yield Case("modernbert", TextEncoder, plain("ModernBertModel", "ModernBertConfig", **SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                                cls_token_id=1, sep_token_id=2, local_attention=6), ropes=4, gated=2)
    relative = dict(relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8, share_att_key=True)
    yield Case("deberta-v2", TextEncoder, plain("DebertaV2Model", "DebertaV2Config", **SMALL, **relative), attention="eager", kept={"matmul": 8})

    # Decoders.
    yield Case("qwen2", Decoder, plain("Qwen2ForCausalLM", "Qwen2Config", **GROUPED), ropes=4, gated=2)
    yield Case("qwen3", Decoder, plain("Qwen3ForCausalLM", "Qwen3Config", **GROUPED), ropes=4, gated=2)
    yield Case("mistral", Decoder, plain("MistralForCausalLM", "MistralConfig", **GROUPED, sliding_window=6), ropes=4, gated=2)
    yield Case("gemma", Decoder, plain("GemmaForCausalLM", "GemmaConfig", **GROUPED), ropes=4, gated=2)
    yield Case("gemma2", Decoder, plain("Gemma2ForCausalLM", "Gemma2Config", **GROUPED, sliding_window=6), ropes=4, gated=2, attention="eager")
    yield Case("phi", Decoder, plain("PhiForCausalLM", "PhiConfig", **SMALL), ropes=4)
    yield Case("phi3", Decoder, plain("Phi3ForCausalLM", "Phi3Config", **GROUPED), ropes=4, gated=2)
    yield Case("gpt-neox", Decoder, plain("GPTNeoXForCausalLM", "GPTNeoXConfig", **(SMALL | dict(hidden_size=48, num_attention_heads=3))), ropes=4)
    yield Case("gptj", Decoder, plain("GPTJForCausalLM", "GPTJConfig", vocab_size=97, n_embd=36, n_layer=2, n_head=3, n_positions=64, rotary_dim=8),
               ropes=4, attention="eager")
    yield Case("glm", Decoder, plain("GlmForCausalLM", "GlmConfig", **(GROUPED | dict(head_dim=12))), ropes=4, gated=2)
    yield Case("cohere", Decoder, plain("CohereForCausalLM", "CohereConfig", **GROUPED), ropes=4, gated=2)
    yield Case("olmo2", Decoder, plain("Olmo2ForCausalLM", "Olmo2Config", **GROUPED), ropes=4, gated=2)
    yield Case("opt", Decoder, plain("OPTForCausalLM", "OPTConfig", vocab_size=97, hidden_size=36, num_hidden_layers=2, num_attention_heads=3,
                                     ffn_dim=50, max_position_embeddings=64, word_embed_proj_dim=36))
    yield Case("bloom", Decoder, plain("BloomForCausalLM", "BloomConfig", vocab_size=97, hidden_size=36, n_layer=2, n_head=3), attention="eager",
               apart={"dynamo": "its bias is as long as the mask, whose length the exporter does not say is that of past and tokens"})

    yield Case("gpt2-prompt", Prompt, plain("GPT2Model", "GPT2Config", vocab_size=97, n_embd=36, n_layer=2, n_head=3, n_positions=64), causal=2)
    yield Case("mistral-prompt", Prompt, plain("MistralModel", "MistralConfig", **GROUPED, sliding_window=6), ropes=4, gated=2, causal=2)

    # Encoder-decoders: each decoder layer has two attentions.
    yield Case("t5", EncoderDecoder, plain("T5Model", "T5Config", vocab_size=97, d_model=36, d_kv=10, d_ff=50, num_layers=2, num_heads=3), attentions=6,
               attention="eager")
    yield Case("t5-gated", EncoderDecoder, plain("T5Model", "T5Config", vocab_size=97, d_model=36, d_kv=10, d_ff=50, num_layers=2, num_heads=3,
                                                 feed_forward_proj="gated-gelu"), attentions=6, gated=4, attention="eager")
    bart = dict(vocab_size=97, d_model=36, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3, decoder_attention_heads=3,
                encoder_ffn_dim=50, decoder_ffn_dim=50, max_position_embeddings=64)
    yield Case("bart", EncoderDecoder, plain("BartModel", "BartConfig", **bart), attentions=6, causal=2)
    yield Case("marian", EncoderDecoder, plain("MarianModel", "MarianConfig", **bart, pad_token_id=0, decoder_start_token_id=0), attentions=6, causal=2)

    # Images and sound.
    image = dict(hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=50, image_size=20, patch_size=5)
    yield Case("vit", Pixels, plain("ViTModel", "ViTConfig", **image))
    yield Case("deit", Pixels, plain("DeiTModel", "DeiTConfig", **image))
    yield Case("clip-vision", PooledPixels, plain("CLIPVisionModel", "CLIPVisionConfig", **image))
    yield Case("siglip-vision", Pixels, plain("SiglipVisionModel", "SiglipVisionConfig", **image, vision_use_head=False))
    # Their position embeddings are interpolated.
    yield Case("beit", PooledPixels, plain("BeitModel", "BeitConfig", **image, use_relative_position_bias=True, use_mask_token=False),
               kept={"reduce": 1})  # the mean of the pooler
    yield Case("dinov2", Pixels, plain("Dinov2Model", "Dinov2Config", **image))
    whisper = dict(vocab_size=97, num_mel_bins=20, d_model=36, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3,
                   decoder_attention_heads=3, encoder_ffn_dim=50, decoder_ffn_dim=50, max_source_positions=11, max_target_positions=32,
                   pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)

    def whisper_encoder(**more):
        return transformers.WhisperModel(transformers.WhisperConfig(**whisper, **more)).get_encoder()

    yield Case("whisper-encoder", Spectrogram, whisper_encoder)
    yield Case("whisper", SpeechToText, plain("WhisperModel", "WhisperConfig", **whisper), attentions=6, causal=2)
    windows = dict(conv_dim=(16, 16), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2, num_conv_pos_embeddings=8,
                   num_conv_pos_embedding_groups=4, mask_time_prob=0.0)
    yield Case("wav2vec2", Waveform, plain("Wav2Vec2Model", "Wav2Vec2Config", **SMALL, **windows))
    yield Case("hubert", Waveform, plain("HubertModel", "HubertConfig", **SMALL, **windows))
