# Imports a folder and runs it in the reference interpreter; test/integration/hf_architectures.py compares its output.
add_executable(hf_interpret hf_interpret.cpp)
target_link_libraries(hf_interpret PRIVATE LLMOptFrontendHF LLMOptInterpreter)
llmopt_use_mlir(hf_interpret)
set_target_properties(hf_interpret PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
