"""Files of a bundle: their names, and the schemas of its tables.

    manifest.json           what the bundle is, and the checksum of every other file; see manifest.py
    manifest.json.sha256    checksum of the manifest, as `sha256sum -c` reads it
    titles.parquet          one row per title: names, facts, popularity; row n is vector n
    vectors.npy             float32 [titles, vector_dim]: popularity, freshness, embedding; see coordinates.py
    balance.npz             order and factors by which the model's title vectors became the embeddings
    offers.parquet          one row per row, country, provider_id, monetization_type; candidates only
    countries.json          country code to the id that the query tower takes
    golden.npz              made-up histories with the lists they must get; see parity.py
    scann/                  searcher over the candidates, as `scann_ops_pybind` loads it
    query_tower/            SavedModel from a history to an embedding
    query_tower.npz         parameters of the query tower, for NumPy; bundles built earlier lack it
    retrieval/              SavedModel from a history to titles, with ScaNN's TensorFlow ops

Rows 0 to `counts.candidates` - 1 are the titles that may be recommended, in both searchers under the same number. The
rows after them are titles that left the guide and stand in histories only. A history names titles by row + 1; 0 pads.
"""

import pyarrow as pa

MANIFEST, MANIFEST_SHA = "manifest.json", "manifest.json.sha256"
TITLES, OFFERS, COUNTRIES = "titles.parquet", "offers.parquet", "countries.json"
VECTORS, BALANCE, GOLDEN = "vectors.npy", "balance.npz", "golden.npz"
SCANN, QUERY_TOWER, RETRIEVAL = "scann", "query_tower", "retrieval"
QUERY_TOWER_ARRAYS = "query_tower.npz"
UNFINISHED = ".unfinished-"  # prefix of folders that are being written, or whose writer was killed

TITLES_SCHEMA = pa.schema(
    [
        ("title_id", pa.int64()),
        ("title", pa.string()),
        ("object_type", pa.string()),  # movie, show or null
        ("release_date", pa.date32()),
        ("release_year", pa.int32()),
        ("count_positives", pa.int64()),  # source of popularity
        ("popularity", pa.float32()),  # standardised, see the manifest
        ("freshness", pa.float32()),  # standardised
        ("genres", pa.list_(pa.string())),
        ("themes", pa.list_(pa.string())),
        ("cast", pa.list_(pa.string())),
        ("directors", pa.list_(pa.string())),
    ]
)
OFFERS_SCHEMA = pa.schema(
    [("row", pa.int32()), ("country", pa.string()), ("provider_id", pa.string()), ("monetization_type", pa.string())]
)
