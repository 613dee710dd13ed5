"""The network on its way out: normalisation in the graph, rewrites, feature maps, a classifier, the trace."""
