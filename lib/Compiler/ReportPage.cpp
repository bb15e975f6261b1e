//===- ReportPage.cpp - the page of a report -----------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Everything from the model is shown as text (textContent), so that a node's name cannot become markup.
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/Report.h"

using namespace llmopt;

static constexpr const char *kHead = R"html(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>llmopt report</title>
<style>
:root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--back:#fff;--panel:#f5f7fa;--blue:#2463b4;--good:#187a43;--bad:#b3401f}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa5b4;--line:#38414e;--back:#161b22;--panel:#1f2630;--blue:#6ea8fe;--good:#5cc98a;--bad:#f0926e}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1100px;padding:16px;font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--back)}
h1{font-size:1.35em;margin:.2em 0;overflow-wrap:anywhere}h2{font-size:1.1em;margin:1.6em 0 .5em;border-bottom:1px solid var(--line)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:8px}.card{background:var(--panel);padding:8px 10px;border-radius:6px}
.card b{display:block;font-size:1.15em}.soft,.card span{color:var(--soft);font-size:.88em}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.86em}th,td{text-align:left;padding:3px 8px;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}th{cursor:pointer;position:sticky;top:0;background:var(--back)}
code,.mono{font-family:ui-monospace,monospace;font-size:.92em;overflow-wrap:anywhere}td.mono{min-width:170px}.passed{color:var(--good)}.missed{color:var(--bad)}
input{width:100%;padding:6px 8px;margin:4px 0 8px;font:inherit;color:inherit;background:var(--panel);border:1px solid var(--line);border-radius:6px}
svg{display:block;width:100%;background:var(--panel);border-radius:6px}svg text{fill:var(--ink);font:11px system-ui,sans-serif}
.graph{max-height:480px;overflow:auto;border-radius:6px}.graph svg{width:auto}
.bar{height:8px;background:var(--blue);border-radius:2px;min-width:1px}
</style></head><body>
<script type="application/json" id="data">)html";

static constexpr const char *kScript = R"html(</script>
<main id="page"></main>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent), page = document.getElementById("page");
function el(tag, parent, text, cls) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (cls) e.className = cls;
  if (parent) parent.append(e);
  return e;
}
function svg(tag, parent, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}
function human(n, unit) {
  for (const s of ["", "k", "M", "G", "T"]) { if (Math.abs(n) < 1000 || s === "T") return (s && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + s + unit; n /= 1000; }
}
const section = title => { el("h2", page, title); return el("div", page); };

el("h1", page, "llmopt report: " + data.input.split("/").filter(x => x).pop());
const meta = data.metadata || {}, cards = el("div", page, undefined, "cards");
const stages = data.entries.flatMap(e => e.stages), made = data.remarks.filter(r => r.kind === "passed"), missed = data.remarks.filter(r => r.kind === "missed");
for (const [name, value] of [["kind", meta.kind || "graph"], ["architecture", meta.architecture], ["layers", meta.layers], ["target", data.target],
    ["weights", human(data.weightBytes, "B")], ["artifact", human(data.outputBytes, "B")], ["kernels", data.kernels], ["launches", stages.length],
    ["barriers", stages.filter(s => s.barrier).length], ["fusions made", made.length], ["missed", missed.length]])
  if (value !== undefined && value !== null && typeof value !== "object") { const c = el("div", cards, undefined, "card"); el("b", c, value); el("span", c, name); }

for (const entry of data.entries) {
  const sizes = Object.entries(entry.sizes).map(([k, v]) => k + " = " + v).join(", ") || "all sizes are known";
  let box = section("Fused regions of '" + entry.name + "'");
  const ports = el("details", box, undefined, "soft");
  el("summary", ports, entry.inputs.length + " inputs, " + entry.outputs.length + " outputs");
  for (const [kind, names] of [["in", entry.inputs], ["out", entry.outputs]]) for (const name of names) el("div", ports, kind + "  " + name, "mono");
  el("p", box, "One box a launch; arcs lead from where a value is made to where it is read. Figures are for " + sizes + ".", "soft");
  const n = entry.stages.length, row = 26, left = 150, holder = el("div", box, undefined, "graph");
  const picture = svg("svg", holder, {width: 900, height: n * row + 10, viewBox: "0 0 900 " + (n * row + 10)});
  entry.stages.forEach((s, i) => {
    for (const from of s.reads) {
      const y0 = from * row + 17, y1 = i * row + 17, bend = Math.min(140, 12 + 9 * Math.sqrt(i - from) * 2);
      svg("path", picture, {d: `M${left} ${y0} C${left - bend} ${y0},${left - bend} ${y1},${left} ${y1}`, fill: "none", stroke: "var(--soft)", "stroke-opacity": .5});
    }
  });
  const colors = {linear: "#4c8bd6", grouped_linear: "#4c8bd6", matmul: "#4c8bd6", attention: "#c9832f", paged_attention: "#c9832f", rows: "#3f9c6b", loops: "#8b95a3", cache_append: "#a568bd"};
  entry.stages.forEach((s, i) => {
    const g = svg("g", picture, {});
    svg("rect", g, {x: left, y: i * row + 6, width: 740, height: 22, rx: 4, fill: colors[s.family] || "#8b95a3", "fill-opacity": .28});
    svg("text", g, {x: left + 8, y: i * row + 21}, (i + 1) + "  " + s.family + "   " + s.name + (s.Ops ? "   [" + (s.Ops.length > 90 ? s.Ops.slice(0, 90) + " ..." : s.Ops) + "]" : ""));
    svg("title", g, {}, s.writes.join(", "));
  });

  box = section("Kernels of '" + entry.name + "'");
  const total = entry.stages.reduce((a, s) => a + s.bytes, 0) || 1, filter = el("input", box);
  filter.placeholder = "filter by node, family, operation or strategy"; filter.setAttribute("aria-label", "filter");
  const table = el("table", el("div", box, undefined, "scroll")), head = el("tr", el("thead", table)), body = el("tbody", table);
  const columns = [["#", s => s.i + 1, 1], ["node", s => s.name], ["family", s => s.family], ["operations", s => s.Ops || ""], ["types", s => s.types],
    ["bytes", s => s.bytes, 1], ["FLOPs", s => s.flops, 1], ["FLOP/byte", s => s.bytes ? s.flops / s.bytes : 0, 1], ["of all bytes", s => s.bytes / total, 1],
    ["tiles", s => (s.Strategy || "").replace("#strategy.", "") + (s.By ? " (" + s.By + ")" : "")]];
  if (data.machine) {
    const least = entry.stages.reduce((a, s) => a + s.floor, 0) || 1;
    el("p", box, "At least " + (least * 1e3).toFixed(3) + " ms on " + data.machine.processor + " with " + data.machine.threads + " threads, as llmopt-bench machine measured it: 'limit' is each kernel's part of that.", "soft");
    columns.splice(9, 0, ["least µs", s => s.floor * 1e6, 1], ["bound by", s => s.bound], ["limit", s => s.floor / least, 1]);
  }
  if (entry.stages.some(s => s.Times && s.Times !== "not measured")) columns.push(["tuned", s => s.Times || ""]);
  const rows = entry.stages.map((s, i) => ({...s, i}));
  let order = 0, down = false;
  function fill() {
    body.replaceChildren();
    const key = columns[order][1];
    rows.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.i - b.i) * (down ? -1 : 1));
    for (const s of rows) {
      if (filter.value && !columns.some(c => String(c[1](s)).toLowerCase().includes(filter.value.toLowerCase()))) continue;
      const tr = el("tr", body);
      columns.forEach(([name, get, number]) => {
        const v = get(s);
        el("td", tr, name === "bytes" ? human(v, "B") : name === "FLOPs" ? human(v, "") : name === "FLOP/byte" ? v.toFixed(1) : name === "of all bytes" || name === "limit" ? (100 * v).toFixed(1) + "%" : name === "least µs" ? v.toFixed(1) : v,
           number ? "n" : name === "node" || name === "tiles" ? "mono" : "");
      });
    }
  }
  columns.forEach(([name, , number], i) => el("th", head, name, number ? "n" : "").onclick = () => { down = order === i ? !down : !!number && i > 0; order = i; fill(); });
  filter.oninput = fill;
  fill();

  box = section("Memory of '" + entry.name + "' over time");
  const live = new Array(n).fill(0);
  for (const [, bytes, first, last] of entry.memory) for (let i = first; i <= last && i < n; ++i) live[i] += bytes;
  const peak = Math.max(1, ...live), chart = svg("svg", box, {viewBox: "0 0 1000 180", role: "img"});
  live.forEach((bytes, i) => { const w = 1000 / n, h = 150 * bytes / peak; svg("title", svg("rect", chart, {x: i * w, y: 170 - h, width: Math.max(.5, w - .6), height: h, fill: "var(--blue)"}), {}, (i + 1) + " " + entry.stages[i].name + ": " + human(bytes, "B")); });
  svg("text", chart, {x: 6, y: 14}, "at most " + human(peak, "B") + " live between launches, " + entry.memory.length + " buffers; of sizes " + sizes);
  const largest = [...entry.memory].sort((a, b) => b[1] - a[1]).slice(0, 8), small = el("table", el("div", box, undefined, "scroll"));
  const top = el("tr", small); for (const t of ["largest buffers", "bytes", "from launch", "to launch"]) el("th", top, t);
  for (const [name, bytes, first, last] of largest) { const tr = el("tr", small); el("td", tr, name, "mono"); el("td", tr, human(bytes, "B")); el("td", tr, first + 1); el("td", tr, last + 1); }
}

let box = section("Fusions and kernel cuts: made and missed");
const search = el("input", box); search.placeholder = "filter"; search.setAttribute("aria-label", "filter remarks");
const list = el("tbody", el("table", el("div", box, undefined, "scroll")));
function remarks() {
  list.replaceChildren();
  for (const r of [...missed, ...made, ...data.remarks.filter(r => r.kind !== "passed" && r.kind !== "missed")]) {
    const f = r.facts, why = f.Reason ? (f.Blocker ? f.Blocker + " '" + f.BlockerNode + "': " : "") + f.Reason + (f.Kind ? " [" + f.Kind + "]" : "") + (f.Suggestion ? " - " + f.Suggestion : "")
      : f.Root ? f.Root + " -> " + f.Op : Object.entries(f).map(([k, v]) => k + " = " + v).join(", ");
    if (search.value && !(r.name + r.node + why).toLowerCase().includes(search.value.toLowerCase())) continue;
    const tr = el("tr", list); el("td", tr, r.kind, r.kind); el("td", tr, r.name); el("td", tr, r.node, "mono"); el("td", tr, why);
  }
}
search.oninput = remarks; remarks();

box = section("Weights");
for (const [kind, count, bytes] of data.weights) el("div", box, kind + ": " + count + " tensors, " + human(bytes, "B"));

box = section("Time of phases and passes");
const longest = Math.max(1e-9, ...data.phases.map(p => p[1]));
for (const [name, seconds] of [...data.phases, ...data.passes.map(p => ["pass " + p[0], p[1]])]) { el("div", box, name + "  " + (seconds * 1000).toFixed(1) + " ms"); el("div", box, undefined, "bar").style.width = 100 * seconds / longest + "%"; }

box = section("How to repeat it");
el("p", box, data.command, "mono");
for (const gpu of data.gpus || []) {
  if (!gpu) continue;
  const box = section("GPU kernels (" + gpu.architecture + ")");
  el("p", box, "Resources as ptxas reports them, occupancy, and an analytic bound against the nominal speeds of " + gpu.gpu + ": no measurement. Sums over the launches of one run with " +
     "1 token (decode) and " + gpu.tokens + " (prefill), and of what is done once (load).", "soft");
  const table = el("table", el("div", box, undefined, "scroll")), head = el("tr", el("thead", table)), body = el("tbody", table);
  const of = (k, run, key, text) => k[run] ? text(k[run][key]) : "";
  const percent = v => (100 * v).toFixed(0) + "%", time = v => v.toFixed(v < 10 ? 2 : 0) + " \u00b5s";
  const columns = [["kernel", k => k.name], ["family", k => k.family], ["math", k => k.math], ["threads", k => k.threads], ["registers", k => k.registers], ["spill", k => k.spill],
    ["shared", k => human(k.shared, "B")], ["stages", k => k.stages], ["blocks/SM", k => k.blocks_per_sm], ["occupancy", k => percent(k.occupancy) + " (" + k.limited_by + ")"]];
  for (const run of ["decode", "prefill", "load"]) columns.push([run, k => of(k, run, "microseconds", time)], ["bound", k => of(k, run, "bound", v => v)],
    ["of bandwidth", k => of(k, run, "of_bandwidth", percent)], ["of peak", k => of(k, run, "of_peak", percent)]);
  for (const [name] of columns) el("th", head, name);
  for (const k of gpu.kernels) { const tr = el("tr", body); columns.forEach(([name, get], i) => el("td", tr, get(k), i > 2 ? "n" : i ? "" : "mono")); }
}
for (const f of data.files) if (f.hash) el("div", box, f.file + "  " + human(f.bytes, "B") + "  hash " + f.hash, "mono soft");
</script></body></html>
)html";

std::string llmopt::reportPage(const Json &data) {
  std::string text = data.str(), safe;
  for (char c : text)
    safe += c == '<' ? std::string("\\u003c") : std::string(1, c); // "</script>" in a node's name ends nothing
  return kHead + safe + kScript;
}
