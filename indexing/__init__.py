"""The serving bundle: how one is built from a model and the lake, published, verified and rolled back.

Commands: build, publish, verify, rollback, retention, reproduce, promote (what the night does after the gate) and
drill (a rehearsed rollback). Library: `bundle` makes and opens bundles, `ann` compiles ScaNN, `query_tower`
exports the query tower, `publishing` stores bundles and names the live one. Start at build.py, then bundle/builder.py;
readers start at bundle/bundle.py.
"""
