# SPDX-License-Identifier: Apache-2.0
"""The HTML report: one file with everything in it, no network, light or dark as the reader's system is."""

from importlib.metadata import version

from aflow_env.report.html.figures import figures
from aflow_env.report.html.templating import environment
from aflow_env.report.pairs import FEW_PAIRS, result
from aflow_env.report.summary import Summary, mean_text, played
from aflow_env.report.verdict import verdict


def page(summary: Summary) -> str:
    """The report as HTML."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            summary=summary,
            verdict=verdict(summary),
            figures=figures(summary.members, summary.effects, summary.baseline, summary.measure),
            mean_text=mean_text,
            result=result,
            few_pairs=FEW_PAIRS,
            played=played,
            tasks=", ".join(sorted({str(run.config.get("task.name", "unknown")) for run in summary.runs})),
            version=version("aflow-env"),
        )
    )
