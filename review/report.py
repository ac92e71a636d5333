"""Write the nightly report: one self-contained HTML file for the morning after.

Reads feed_loads, rejected_rows, evaluations, gate_results, stg_titles and training_users in <lake.root>, the posters in
<feeds.posters_dir>, and what the night left in <report.root>/DATE; writes <report.root>/DATE/report.html.

A section whose source is missing says so, so that the report of a failed night shows how far it came.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from conf import command_line, night_folder
from conf.settings import Settings
from lake import night_files
from lake.errors import LakeError
from models.gating import gate_results
from review import examples, night
from review.sections import Section

_TEMPLATES = Path(__file__).parent / "templates"


def sections(settings: Settings, ds: date, stages: Sequence[night.Stage]) -> list[Section]:
    """All sections of a night's report, in order."""
    parts = [_section(part, settings, ds) for part in (*night.SECTIONS, examples.users)]
    return [*parts, night.run_time(settings, stages)]


def _section(part: night.Part, settings: Settings, ds: date) -> Section:
    try:
        return part(settings, ds)
    except LakeError as error:  # an unreadable table is shown as a missing section
        return Section(part.__name__.replace("_", " "), missing=str(error))


def render(settings: Settings, ds: date) -> str:
    """The report as HTML."""
    stages = night.read_stages(night_folder.stages(settings, ds))
    outcome = night.outcome(stages, gate_results.read(settings.lake.root, ds))
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = sections(settings, ds, stages)
    return environment.get_template("report.html").render(ds=ds, outcome=outcome, sections=shown)


def work(settings: Settings, arguments: Namespace) -> None:
    file = night_files.report(settings, arguments.ds)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(settings, arguments.ds), encoding="utf-8")
    print(f"report: {file}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--ds", type=date.fromisoformat, required=True, metavar="DATE", help="the night")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
