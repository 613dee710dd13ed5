"""From the word MODEL to a network with weights: names that timm knows, the Hub, folders, the catalog."""
