"""One objective a file: which views go to which branch, how targets are made, paired and weighed."""
