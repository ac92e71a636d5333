"""Where bundles are stored and which one is live.

Start at publication.py: publish, roll back, open the live bundle, remove old ones. storage.py is a folder or S3,
pointer.py the object CURRENT, pinned_by_bundles.py the table versions that bundles need.
"""
