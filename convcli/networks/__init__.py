"""Networks: chains of layers, from YAML to numbers.

`model` and `operations` say what a net is (no numbers), `parse` reads one, `weights` finds the numbers,
`torch_run` computes, `blocks` computes large inputs in parts, `check` measures, `pictures` and `graph` draw.
Nothing here opens an image or a terminal.
"""

SUFFIXES = (".onnx", ".yaml", ".yml", ".keras", ".h5", ".pt2", ".pt", ".pth")
"""Suffixes of files that are taken for nets; for those that are not read, an error says how to convert them."""
