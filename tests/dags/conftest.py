"""Airflow looks for its home when it is first imported: a folder of the tests' own, not the user's."""

import os
import sys
import tempfile
from pathlib import Path

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-of-tests-")
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{os.environ['AIRFLOW_HOME']}/airflow.db"
# As Airflow puts its DAGs' folder there.
sys.path.append(str(Path(__file__).parents[2] / "dags"))
