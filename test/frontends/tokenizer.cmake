add_llmopt_unittest(TokenizerTests
  ${CMAKE_SOURCE_DIR}/test/unit/TokenizerBadInputTest.cpp
  ${CMAKE_SOURCE_DIR}/test/unit/TokenizerReferenceTest.cpp
  LINK_LIBS LLMOptTokenizer LLMOptTokenizerImport)
target_compile_definitions(TokenizerTests PRIVATE LLMOPT_SOURCE_DIR="${CMAKE_SOURCE_DIR}")

# For test/integration/tokenizer_random.py and test/fuzz.
add_executable(tokenizer_cli tokenizer_cli.cpp)
target_link_libraries(tokenizer_cli PRIVATE LLMOptTokenizer LLMOptTokenizerImport)
set_target_properties(tokenizer_cli PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
