// RUN: llmopt-opt %s --split-input-file --verify-diagnostics

func.func @rope_c1_heads_missing(%x: tensor<2x8xf32>, %p: tensor<2xi32>, %f: tensor<4xf32>) {
  // expected-error@+1 {{needs an input [tokens, heads, D], not [2, 8]}}
  %0 = llm.rope %x, %p, %f : tensor<2x8xf32>, tensor<2xi32>, tensor<4xf32> -> tensor<2x8xf32>
  return
}

// -----

func.func @rope_c2_position_missing(%x: tensor<2x1x8xf32>, %p: tensor<1xi32>, %f: tensor<4xf32>) {
  // expected-error@+1 {{has 1 positions for 2 tokens}}
  %0 = llm.rope %x, %p, %f : tensor<2x1x8xf32>, tensor<1xi32>, tensor<4xf32> -> tensor<2x1x8xf32>
  return
}

// -----

func.func @rope_c3_more_pairs_than_features(%x: tensor<2x1x8xf32>, %p: tensor<2xi32>, %f: tensor<5xf32>) {
  // expected-error@+1 {{has 5 frequencies for heads of 8 features}}
  %0 = llm.rope %x, %p, %f : tensor<2x1x8xf32>, tensor<2xi32>, tensor<5xf32> -> tensor<2x1x8xf32>
  return
}

// -----

func.func @rope_c4_only_the_rotated_part(%x: tensor<2x1x8xf32>, %p: tensor<2xi32>, %f: tensor<2xf32>) {
  // expected-error@+1 {{has a result of shape [2, 1, 4] where the operands give [2, 1, 8]}}
  %0 = llm.rope %x, %p, %f : tensor<2x1x8xf32>, tensor<2xi32>, tensor<2xf32> -> tensor<2x1x4xf32>
  return
}

// -----

func.func @attention_c1_no_batch(%q: tensor<4x3x8xf32>, %k: tensor<1x4x3x8xf32>) {
  // expected-error@+1 {{needs query, key and value of four dimensions}}
  %0 = llm.attention %q, %k, %k {scale = 1.0 : f32} : tensor<4x3x8xf32>, tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32> -> tensor<4x3x8xf32>
  return
}

// -----

func.func @attention_c2_keys_too_narrow(%q: tensor<1x4x3x8xf32>, %k: tensor<1x4x5x6xf32>) {
  // expected-error@+1 {{has query [1, 4, 3, 8], key [1, 4, 5, 6], value [1, 4, 5, 6]}}
  %0 = llm.attention %q, %k, %k {scale = 1.0 : f32} : tensor<1x4x3x8xf32>, tensor<1x4x5x6xf32>, tensor<1x4x5x6xf32> -> tensor<1x4x3x6xf32>
  return
}

// -----

func.func @attention_c3_heads_do_not_share_evenly(%q: tensor<1x4x3x8xf32>, %k: tensor<1x3x5x8xf32>) {
  // expected-error@+1 {{has 4 query heads for 3 key-value heads}}
  %0 = llm.attention %q, %k, %k {scale = 1.0 : f32} : tensor<1x4x3x8xf32>, tensor<1x3x5x8xf32>, tensor<1x3x5x8xf32> -> tensor<1x4x3x8xf32>
  return
}

// -----

func.func @attention_c4_mask_makes_scores_larger(%q: tensor<1x4x3x8xf32>, %m: tensor<2x1x3x3xi1>) {
  // expected-error@+1 {{has a mask 'tensor<2x1x3x3xi1>' for scores [1, 4, 3, 3]}}
  %0 = llm.attention %q, %q, %q mask %m : tensor<2x1x3x3xi1> {scale = 1.0 : f32}
    : tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32> -> tensor<1x4x3x8xf32>
  return
}

// -----

func.func @attention_c4_mask_of_integers(%q: tensor<1x4x3x8xf32>, %m: tensor<3x3xi32>) {
  // expected-error@+1 {{has a mask 'tensor<3x3xi32>' for scores [1, 4, 3, 3]}}
  %0 = llm.attention %q, %q, %q mask %m : tensor<3x3xi32> {scale = 1.0 : f32}
    : tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32> -> tensor<1x4x3x8xf32>
  return
}

// -----

func.func @attention_c5_window_below_zero(%q: tensor<1x4x3x8xf32>) {
  // expected-error@+1 {{has a negative window}}
  %0 = llm.attention %q, %q, %q {scale = 1.0 : f32, window = -1 : i64}
    : tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32> -> tensor<1x4x3x8xf32>
  return
}

// -----

func.func @attention_c6_width_of_the_keys(%q: tensor<1x4x3x8xf32>, %v: tensor<1x4x3x5xf32>) {
  // expected-error@+1 {{has a result of shape [1, 4, 3, 8] where the operands give [1, 4, 3, 5]}}
  %0 = llm.attention %q, %q, %v {scale = 1.0 : f32} : tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32>, tensor<1x4x3x5xf32> -> tensor<1x4x3x8xf32>
  return
}

// -----

func.func @cache_append_c1_heads_differ(%k: tensor<3x2x8xf32>, %v: tensor<3x1x8xf32>) {
  // expected-error@+1 {{has keys [3, 2, 8] and values [3, 1, 8]}}
  llm.cache_append %k, %v {state = 0 : i64} : tensor<3x2x8xf32>, tensor<3x1x8xf32>
  return
}

// -----

func.func @cache_append_c2_no_such_state(%k: tensor<3x2x8xf32>) {
  // expected-error@+1 {{names state -1}}
  llm.cache_append %k, %k {state = -1 : i64} : tensor<3x2x8xf32>, tensor<3x2x8xf32>
  return
}

// -----

func.func @paged_attention_c1_batched(%q: tensor<1x3x4x8xf32>) {
  // expected-error@+1 {{needs queries [tokens, heads, D], not [1, 3, 4, 8]}}
  %0 = llm.paged_attention %q {state = 0 : i64, kv_heads = 2 : i64, scale = 1.0 : f32} : tensor<1x3x4x8xf32> -> tensor<1x3x4x8xf32>
  return
}

// -----

func.func @paged_attention_c2_heads_do_not_share_evenly(%q: tensor<3x4x8xf32>) {
  // expected-error@+1 {{has 4 query heads for 3 key-value heads}}
  %0 = llm.paged_attention %q {state = 0 : i64, kv_heads = 3 : i64, scale = 1.0 : f32} : tensor<3x4x8xf32> -> tensor<3x4x8xf32>
  return
}

// -----

func.func @paged_attention_c3_slope_missing(%q: tensor<3x4x8xf32>, %s: tensor<3xf32>) {
  // expected-error@+1 {{has slopes or sinks [3] for 4 heads}}
  %0 = llm.paged_attention %q slopes %s : tensor<3xf32> {state = 0 : i64, kv_heads = 2 : i64, scale = 1.0 : f32} : tensor<3x4x8xf32> -> tensor<3x4x8xf32>
  return
}

// -----

func.func @paged_attention_c4_even_bias(%q: tensor<3x4x8xf32>, %b: tensor<4x6xf32>) {
  // expected-error@+1 {{has a bias [4, 6] for 4 heads; an odd number of distances is needed}}
  %0 = llm.paged_attention %q bias %b : tensor<4x6xf32> {state = 0 : i64, kv_heads = 2 : i64, scale = 1.0 : f32} : tensor<3x4x8xf32> -> tensor<3x4x8xf32>
  return
}

// -----

func.func @paged_attention_c5_window_below_zero(%q: tensor<3x4x8xf32>) {
  // expected-error@+1 {{has a negative window or state}}
  %0 = llm.paged_attention %q {state = 0 : i64, kv_heads = 2 : i64, scale = 1.0 : f32, window = -4 : i64} : tensor<3x4x8xf32> -> tensor<3x4x8xf32>
  return
}

// -----

func.func @paged_attention_c6_head_lost(%q: tensor<3x4x8xf32>) {
  // expected-error@+1 {{has a result of shape [3, 2, 8] where the operands give [3, 4, ?]}}
  %0 = llm.paged_attention %q {state = 0 : i64, kv_heads = 2 : i64, scale = 1.0 : f32} : tensor<3x4x8xf32> -> tensor<3x2x8xf32>
  return
}
