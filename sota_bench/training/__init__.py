"""What runs on the device: backbones, one training phase as one linear loop, evaluation, checkpoints. Imports torch."""
