"""The tables of the lake that models are trained and measured on."""

EVALUATION_TABLES = ("title_features", "vocabularies", "training_examples", "training_users")
TRAINING_TABLES = (*EVALUATION_TABLES, "click_ranks")

SPLITS = ("train", "validation", "test")  # of training_examples, in the order of time
