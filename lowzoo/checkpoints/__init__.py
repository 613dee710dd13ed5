"""Other people's checkpoints: read without running anything in them, and turned into what timm loads."""
