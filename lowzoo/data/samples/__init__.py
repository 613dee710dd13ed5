"""The embedded pictures and photographs; README.md beside this file says where they come from."""
