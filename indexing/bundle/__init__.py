"""A bundle: one folder with everything that serving needs of a model and a catalogue.

bundle_files.py lists the files and manifest.py their description. builder.py makes a bundle, bundle.py opens one,
checksums.py verifies one, and parity.py compares one with the training graph.
"""
