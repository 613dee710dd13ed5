"""Where images come from: folders, parquet files and the embedded sample set, and how their bytes become pixels."""
