"""Features of a frozen network for many images: computed once, cached, compared."""
