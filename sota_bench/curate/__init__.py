"""Curating a data set: what should not be there (wrong labels, outliers, copies, tiny and unreadable images), and the
small set that makes iterations fast. The result is a manifest that a person may edit and a page to look at it."""
