"""Sets AIRFLOW_HOME to a temporary folder before Airflow is imported."""

import os
import sys
import tempfile
from pathlib import Path

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-of-tests-")
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{os.environ['AIRFLOW_HOME']}/airflow.db"
# Airflow adds the DAGs' folder to the path too.
sys.path.append(str(Path(__file__).parents[2] / "dags"))
