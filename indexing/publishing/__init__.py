"""Storage of bundles, and the pointer to the live one.

Start at publication.py: publish, roll back, open the live bundle, remove old ones. storage.py is a folder or S3,
pointer.py the object CURRENT, pinned_by_bundles.py the table versions that bundles need.
"""
