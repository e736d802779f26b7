"""Sources of images, their manifests, splits and subsets, and the cache of decoded pixels.

Nothing here imports torch: worker processes that only decode start quickly.
"""
