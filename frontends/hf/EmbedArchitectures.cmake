# cmake -DOUTPUT=file.cpp -DINPUTS="a.json;b.json" -P EmbedArchitectures.cmake
# Writes the descriptions as string literals. Each is split where a compiler's limit on literals could matter.

set(rows "")
set(text "// Made from frontends/hf/architectures by EmbedArchitectures.cmake.\n#include \"frontends/hf/EmbeddedArchitectures.h\"\n\n")
foreach(input IN LISTS INPUTS)
  get_filename_component(name ${input} NAME_WE)
  file(READ ${input} json)
  string(REPLACE "\n" "\n)json\" R\"json(" json "${json}")
  string(APPEND rows "    {\"${name}\", R\"json(${json})json\"},\n")
endforeach()
string(APPEND text "static constexpr llmopt::hf::EmbeddedArchitecture kArchitectures[] = {\n${rows}};\n\n"
  "std::span<const llmopt::hf::EmbeddedArchitecture> llmopt::hf::embeddedArchitectures() { return kArchitectures; }\n")
file(WRITE ${OUTPUT} "${text}")
