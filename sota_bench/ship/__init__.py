"""From the store to production: a trained trial as a folder that timm opens, and predictions from such a folder.
Only the modules that make or run a network import torch."""
