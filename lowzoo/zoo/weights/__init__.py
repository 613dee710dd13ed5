"""The bundled weights, as safetensors; the catalog says what they are."""
