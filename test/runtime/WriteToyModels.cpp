//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes the toy artifacts to $LLMOPT_TOY_FOLDER, for tests of the tools and of the install tree.
//
//===----------------------------------------------------------------------===//
#include "ToyModel.h"

#include <cstdio>
#include <gtest/gtest.h>

using namespace llmopt;

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  for (const std::string &path : {toy::decoder(), toy::encoderDecoder(), toy::graphDecoder(), toy::textDecoder(),
                                  toy::write("graph.llmopt", toy::graphPlan(), Json().set("kind", "graph"))})
    std::puts(path.c_str());
  std::string cases = "# prompt, answer\n";
  auto join = [](const std::vector<int32_t> &ids) {
    std::string text;
    for (int32_t id : ids)
      text += (text.empty() ? "" : " ") + std::to_string(id);
    return text;
  };
  for (int32_t first = 0; first < 20; ++first) {
    std::vector<int32_t> prompt = {first, 7, 2 * first};
    cases += join(prompt) + "\t" + join(toy::greedy(prompt, 12)) + "\t0.5\n";
  }
  std::FILE *file = std::fopen((toy::folder() / "cases.tsv").c_str(), "w");
  std::fputs(cases.c_str(), file);
  return std::fclose(file) == 0 && !testing::Test::HasFailure() ? 0 : 1;
}
