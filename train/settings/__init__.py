"""What can be set: one typed configuration a recipe, laid over presets, files and options."""
