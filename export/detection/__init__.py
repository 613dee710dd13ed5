"""A trained detector as a file: the graph of fixed sizes, its ONNX operators, and the parity of what it finds."""
