//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows E01, E04 and E06: what is not loaded, and why.
//
//===----------------------------------------------------------------------===//
#include "ToyModel.h"
#include "llmopt/lib/Target/Target.h"
#include "llmopt/runtime/Engine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <fstream>
#include <gtest/gtest.h>

using namespace llmopt;

namespace {

const Json kGraph = Json().set("kind", "graph");

Elf64_Ehdr &header(std::string &image) { return *reinterpret_cast<Elf64_Ehdr *>(image.data()); }
Elf64_Phdr *segment(std::string &image, uint32_t type, uint32_t flags = 0) {
  auto *rows = reinterpret_cast<Elf64_Phdr *>(image.data() + header(image).e_phoff);
  for (int i = 0; i < header(image).e_phnum; ++i)
    if (rows[i].p_type == type && (rows[i].p_flags & flags) == flags)
      return &rows[i];
  return nullptr;
}
/// Turns the library's name into another entry of the dynamic section.
void retag(std::string &image, int64_t tag) {
  Elf64_Phdr *dynamic = segment(image, PT_DYNAMIC);
  auto *entry = reinterpret_cast<Elf64_Dyn *>(image.data() + dynamic->p_offset);
  while (entry->d_tag != DT_SONAME)
    ++entry;
  entry->d_tag = tag;
}
/// The symbol of a kernel.
Elf64_Sym *symbol(std::string &image) {
  Elf64_Phdr *dynamic = segment(image, PT_DYNAMIC);
  auto *entry = reinterpret_cast<Elf64_Dyn *>(image.data() + dynamic->p_offset);
  while (entry->d_tag != DT_SYMTAB)
    ++entry;
  return reinterpret_cast<Elf64_Sym *>(image.data() + entry->d_un.d_ptr) + 1; // the first segment begins at 0
}

struct Elf {
  const char *name;
  void (*change)(std::string &);
  const char *message;
};
class RefusedElf : public testing::TestWithParam<Elf> {};

TEST_P(RefusedElf, BeforeMapping) {
  toy::Options options;
  GetParam().change(options.code);
  Result<Engine> engine = Engine::load(toy::write("elf.llmopt", toy::graphPlan(), kGraph, options));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, "E0207");
  EXPECT_EQ(engine.error().kind, ErrorKind::Verification);
  EXPECT_NE(engine.error().message.find(GetParam().message), std::string::npos) << engine.error().message;
}
const Elf kElfs[] = {
    {"Empty", [](auto &e) { e.clear(); }, "empty"},
    {"Text", [](auto &e) { e = std::string(4096, 'x'); }, "no ELF file"},
    {"Truncated", [](auto &e) { e.resize(e.size() / 3); }, "outside"},
    {"Machine", [](auto &e) { header(e).e_machine = EM_AARCH64; }, "not for 64-bit x86"},
    {"Executable", [](auto &e) { header(e).e_type = ET_EXEC; }, "no shared object"},
    {"ManyHeaders", [](auto &e) { header(e).e_phnum = 60000; }, "malformed"},
    {"Needed", [](auto &e) { retag(e, DT_NEEDED); }, "needs another library"},
    {"Constructor", [](auto &e) { retag(e, DT_INIT_ARRAY); }, "constructors"},
    {"Destructor", [](auto &e) { retag(e, DT_FINI); }, "constructors or destructors"},
    {"Relocations", [](auto &e) { retag(e, DT_RELA); }, "relocations"},
    {"UnknownTag", [](auto &e) { retag(e, 0x6ffffef5 + 77); }, "unknown entry"},
    {"WritableCode", [](auto &e) { segment(e, PT_LOAD, PF_X)->p_flags |= PF_W; }, "both writable and executable"},
    {"HugeMemory", [](auto &e) { segment(e, PT_LOAD, PF_X)->p_memsz = uint64_t(1) << 40; }, "bytes in memory"},
    {"Outside", [](auto &e) { auto *s = segment(e, PT_LOAD, PF_X); s->p_filesz = s->p_memsz = 1 << 24; }, "outside the section"},
    {"Address", [](auto &e) { segment(e, PT_LOAD, PF_X)->p_vaddr += 8; }, "cannot be mapped"},
    {"Overlap", [](auto &e) { segment(e, PT_LOAD, PF_X)->p_vaddr %= 4096; }, "share a page"},
    {"Interpreter", [](auto &e) { segment(e, PT_GNU_STACK)->p_type = PT_INTERP; }, "interpreter"},
    {"ExecutableStack", [](auto &e) { segment(e, PT_GNU_STACK)->p_flags |= PF_X; }, "executable stack"},
    {"Undefined", [](auto &e) { symbol(e)->st_shndx = SHN_UNDEF; }, "is undefined"},
    {"SymbolName", [](auto &e) { symbol(e)->st_name = 1 << 30; }, "symbol table is malformed"},
};
INSTANTIATE_TEST_SUITE_P(E06, RefusedElf, testing::ValuesIn(kElfs), [](const auto &info) { return info.param.name; });

// No byte of the headers makes the checker crash, whatever it decides.
TEST(Elf, AnyByteOfTheHeaders) {
  toy::Options options;
  const std::string good = options.code;
  for (size_t i = 0; i < 0x400; i += 7) {
    options.code = good;
    options.code[i] = char(options.code[i] ^ 0x55);
    Result<Engine> engine = Engine::load(toy::write("elf.llmopt", toy::graphPlan(), kGraph, options), {.threads = 1});
    if (!engine)
      EXPECT_FALSE(engine.error().message.empty());
  }
}

TEST(Load, DamagedCodeAndPlan) {
  std::string path = toy::write("damaged.llmopt", toy::graphPlan(), kGraph);
  for (const char *section : {"code/x86-64", "plan/x86-64", "weights"}) {
    Section info = *Artifact::open(path)->sectionInfo(section);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(std::streamoff(info.offset + info.length / 2));
    char flipped = char(file.get() ^ 1);
    file.seekp(std::streamoff(info.offset + info.length / 2));
    file.put(flipped);
    file.close();
    Result<Engine> engine = Engine::load(path, {.verifyWeights = true});
    ASSERT_FALSE(engine.ok()) << section;
    EXPECT_EQ(engine.error().kind, ErrorKind::Verification);
    EXPECT_NE(engine.error().message.find(section), std::string::npos) << engine.error().message;
    path = toy::write("damaged.llmopt", toy::graphPlan(), kGraph);
  }
}

// Rows B19 and E10: the file is cut off while the engine has it mapped.
TEST(Load, ArtifactThatShrinksUnderTheEngine) {
  std::string path = toy::write("shrinks.llmopt", toy::decoderPlan(), toy::decoderMetadata());
  Result<Engine> engine = Engine::load(path, {.threads = 2});
  ASSERT_TRUE(engine.ok()) << engine.error().str();
  Sequence sequence = engine->newSequence();
  const std::vector<int32_t> tokens = {1, 2, 3};
  const SequenceInput input{&sequence, tokens};
  StepOutput output;
  ASSERT_TRUE(engine->step({&input, 1}, output).ok());
  std::filesystem::resize_file(path, 4096);
  Status status = engine->step({&input, 1}, output);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, "E0105");
  EXPECT_EQ(status.error().kind, ErrorKind::BadInput);
  EXPECT_EQ(status.error().context, path);
  EXPECT_EQ(sequence.length(), 3u); // the failed step left no tokens behind
  EXPECT_FALSE(engine->intact().ok());
  EXPECT_FALSE(Engine::load(path).ok());
}

TEST(Load, WrongMachine) {
  toy::Options options{.target = "x86-64-v9", .features = {"sse2", "telepathy", "time_travel"}, .code = toy::codeImage()};
  Result<Engine> engine = Engine::load(toy::write("v9.llmopt", toy::graphPlan(), kGraph, options));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, "E0206");
  EXPECT_EQ(engine.error().kind, ErrorKind::Unsupported);
  EXPECT_NE(engine.error().message.find("needs telepathy, time_travel; this CPU has sse2"), std::string::npos) << engine.error().message;
}

// One file for several machines: the best target that runs, within LLMOPT_CPU.
TEST(Load, BestTargetOfSeveral) {
  std::string path = toy::folder() / "fat.llmopt", plan = toJson(toy::graphPlan()).str();
  ArtifactWriter writer = ArtifactWriter::create(path).take();
  // In no particular order; the middle one runs nowhere.
  for (const auto &[name, feature] : {std::pair("x86-64-v3", "avx2"), std::pair("x86-64-v4", "telepathy"), std::pair("x86-64", "sse2")}) {
    ASSERT_TRUE(writer.addSection(std::string("plan/") + name, plan).ok());
    ASSERT_TRUE(writer.addSection(std::string("code/") + name, toy::codeImage()).ok());
    writer.addTarget({name, {feature}});
  }
  writer.setModel(kGraph);
  ASSERT_TRUE(writer.commit().ok());
  std::vector<std::string> host = hostFeatures();
  bool avx2 = std::find(host.begin(), host.end(), "avx2") != host.end();
  EXPECT_EQ(Engine::load(path)->target(), avx2 ? "x86-64-v3" : "x86-64");
  EXPECT_EQ(Engine::load(path, {.target = "x86-64"})->target(), "x86-64");
  ::setenv("LLMOPT_CPU", "x86-64", 1);
  EXPECT_EQ(Engine::load(path)->target(), "x86-64");
  Result<Engine> engine = Engine::load(path, {.target = "x86-64-v3"});
  ::unsetenv("LLMOPT_CPU");
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("target x86-64-v3 needs avx2; this CPU has sse2"), std::string::npos) << engine.error().message;
}

TEST(Load, MissingTargetAndKernel) {
  std::string path = toy::write("graph2.llmopt", toy::graphPlan(), kGraph);
  EXPECT_EQ(Engine::load(path, {.target = "x86-64-v4"}).error().kind, ErrorKind::Usage);
  plan::Plan plan = toy::graphPlan();
  plan.entries[0].stages[0].variants[0].kernel = "toy_missing";
  Result<Engine> engine = Engine::load(toy::write("kernel.llmopt", plan, kGraph));
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("no kernel 'toy_missing'"), std::string::npos);
}

TEST(Load, WeightOutsideItsSection) {
  plan::Plan plan = toy::decoderPlan();
  plan.weights[0].bytes = 1 << 20;
  Result<Engine> engine = Engine::load(toy::write("weight.llmopt", plan, toy::decoderMetadata()));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, "E0208");
}

TEST(Load, UnknownCpuRestriction) {
  ::setenv("LLMOPT_CPU", "z80", 1);
  Result<Engine> engine = Engine::load(toy::decoder());
  ::unsetenv("LLMOPT_CPU");
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().kind, ErrorKind::Usage);
}

} // namespace
