"""The networks of the paper's studies as one family (paper section 3.2, Fig. 1, Eq. 1 and 2).

`variants` says which networks there are (facts, no torch), `backbones` which backbones, `network` assembles and runs
them, `weights` and `onnx` write them down. Nothing is imported here: `parallelnet list variants` must stay instant.
"""
