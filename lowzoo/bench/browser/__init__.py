"""The browser target: a page that times a model on whatever device opens it, and a server that gathers what it says."""
