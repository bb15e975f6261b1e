# cmake -DOUTPUT=x.cpp -DFILES="a.cuh;b.cuh" -P EmbedKernels.cmake: the kernel sources as strings of the compiler.
set(_text "#include \"codegen/CUDA/KernelSources.h\"\n\nstatic const llmopt::cuda::KernelSource kSources[] = {\n")
foreach(_file ${FILES})
  get_filename_component(_name ${_file} NAME)
  file(READ ${_file} _source)
  string(APPEND _text "{\"${_name}\", R\"llmopt(${_source})llmopt\"},\n")
endforeach()
string(APPEND _text "};\nstd::span<const llmopt::cuda::KernelSource> llmopt::cuda::kernelSources() { return kSources; }\n")
file(WRITE ${OUTPUT} "${_text}")
