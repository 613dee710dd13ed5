"""Files: written whole or not at all, read as people write them, fetched once and checked."""
