#!/usr/bin/env python3
# llmopt-test: long
"""10,000 random graphs; random_graphs.py says what is compared."""
import os
import runpy

os.environ.setdefault("LLMOPT_RANDOM_GRAPHS", "10000")
os.environ.setdefault("LLMOPT_RANDOM_SEED", "1000")
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "random_graphs.py"), run_name="__main__")
