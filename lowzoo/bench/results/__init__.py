"""The protocol of timing, the schema of a result, and reports of many."""
