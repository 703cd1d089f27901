"""``retrylab plot`` draws saved runs, saved sweeps and scenario files, and says what it cannot do in a line."""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from console_command import app
from plot_samples import cells, result_of
from typer.testing import CliRunner
from undrawn import undrawn

import simulation
import simulation.commands.plot
from simulation.experiments.sweeping.sweep import sweep
from simulation.reporting import plots
from simulation.reporting.plots.canvas import picture_bytes
from simulation.reporting.plots.kinds import OF_A_RUN, Options
from simulation.scenario import parse

SCENARIO = """
duration: 20s
workload: [{channel: sms, arrivals: {poisson: 3/s}}, {channel: push, arrivals: {constant: 1/s}}]
faults: [{channel: sms, at: 5s, for: 5s, outage: true}]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SCENARIO)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was saved once; not to be written into."""
    directory = tmp_path_factory.mktemp("finished")
    with undrawn():
        simulation.save(simulation.run(parse(SCENARIO, "small.yaml")), directory)
    return directory


@pytest.fixture
def saved(here, finished):
    shutil.copytree(finished, here / "run")
    return here / "run"


def plot(*arguments):
    done = CliRunner().invoke(app, ["plot", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return SimpleNamespace(code=done.exit_code, out=done.stdout.splitlines(), err=done.stderr.splitlines())


def written(done):
    assert done.code == 0, done.err
    return [line.removeprefix("written to ") for line in done.out]


def test_a_scenario_file_is_run_and_its_overview_is_written_here(here):
    assert written(plot("small.yaml")) == ["small-overview.png"]
    assert (here / "small-overview.png").read_bytes().startswith(b"\x89PNG")


def test_the_ending_of_the_name_says_in_which_form(here, saved):
    assert written(plot(saved, "--kind", "throughput", "--out", "new/a.svg")) == ["new/a.svg"]
    text = (here / "new" / "a.svg").read_text()
    assert text.startswith("<?xml")
    assert "<svg" in text
    assert written(plot(saved, "--kind", "throughput", "--out", "b.PNG")) == ["b.PNG"]
    assert (here / "b.PNG").read_bytes().startswith(b"\x89PNG")


def test_several_kinds_go_into_a_directory(here):
    assert written(plot("small.yaml", "--kind", "raster", "--kind", "backoff", "--out", "pictures")) == [
        "pictures/small-raster.png",
        "pictures/small-backoff.png",
    ]


def test_a_setting_and_a_seed_change_the_run(here):
    plot("small.yaml", "--kind", "raster", "--out", "one.png")
    plot("small.yaml", "--kind", "raster", "--seed", "5", "--out", "other.png")
    plot("small.yaml", "--kind", "raster", "--set", "duration=2s", "--out", "third.png")
    pictures = {(here / f"{name}.png").read_bytes() for name in ("one", "other", "third")}
    assert len(pictures) == 3


def test_an_option_chooses_the_kind_that_heeds_it(saved):
    notification = result_id(saved)
    assert written(plot(saved, "--notification", notification)) == [str(saved / "timeline.png")]
    assert written(plot(saved, "--channel", "push")) == [str(saved / "throughput.png")]


def result_id(saved):
    return simulation.open_result(saved).notifications["id"].iloc[0]


class Sweep:
    cells = cells()
    varied = ("channels.email.retry.max_attempts", "channels.email.retry.jitter", "channels.email.timeout")


@pytest.fixture
def swept(here, monkeypatch):
    (here / "sweep").mkdir()
    (here / "sweep" / "sweep.json").write_text("{}")
    monkeypatch.setattr(simulation.commands.plot, "_sweep", lambda _directory: Sweep())
    return here / "sweep"


def test_a_sweep_is_drawn_too(swept):
    assert written(plot(swept)) == [str(swept / "lines.png")]
    heatmap = plot(swept, "--metric", "delivery_time_s.p99", "--y", "channels.email.retry.jitter")
    assert written(heatmap) == [str(swept / "heatmap.png")]


def test_the_former_name_of_an_option_still_works_and_says_what_to_use(swept):
    warning = "warning: --figure is deprecated: use --metric"
    drawn = plot(swept, "--figure", "delivery_time_s.p99", "--y", "channels.email.retry.jitter")
    assert (written(drawn), drawn.err) == ([str(swept / "heatmap.png")], [warning])
    refused = plot(swept, "--figure", "nonsense")
    assert (refused.code, refused.err[0]) == (2, warning)
    assert "nonsense" in refused.err[1]


@pytest.mark.thorough
def test_a_sweep_that_was_saved_is_opened_and_what_it_cannot_show_is_left_out_of_all(here):
    swept = sweep("small.yaml", {"channels.sms.retry.max_attempts": [1, 3]}, replicates=2)
    simulation.save(swept, here / "swept")
    assert written(plot("swept", "--kind", "all")) == ["swept/lines.png", "swept/pareto.png"]
    refused = plot("swept", "--kind", "heatmap")
    assert (refused.code, refused.err) == (2, ["y: wanted a sweep of 2 settings or more, got 1"])
    ax = plots.sweep_lines(swept, "attempts")
    np.testing.assert_allclose(
        ax.containers[0][0].get_ydata(), swept.runs.groupby("channels.sms.retry.max_attempts")["attempts"].mean()
    )


def test_all_of_a_run_without_notifications_is_all_but_what_is_of_them():
    assert [kind for kind in OF_A_RUN if not OF_A_RUN[kind].possible(result_of("aggregates"))] == [
        "breaker-causes",
        "waiting",
        "timeline",
    ]
    assert all(kind.possible(result_of("outage")) for kind in OF_A_RUN.values())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["run", "--kind", "pareto"], r"--kind: wanted one of a run \(overview, throughput, .*\), got pareto"),
        (["run", "--kind", "raster", "--x", "seed"], "--x: wanted only with --kind lines or heatmap, got raster"),
        (["run", "--out", "x.jpg"], r"--out x.jpg: wanted a name that ends in \.png or \.svg, or a directory"),
        (["run", "--kind", "all", "--out", "x.png"], "--out x.png: wanted a directory for 13 pictures, got a file"),
        (["run", "--notification", "nope"], "notification: wanted the id of one of the run's .*, got 'nope'"),
        (["run", "--channel", "fax"], r"channel: wanted a channel that the scenario uses \(sms, push\), got 'fax'"),
        (["run", "--kind", "backoff", "--channel", "fax"], "channel: wanted a channel .*, got 'fax'"),
        (["run", "--seed", "3"], "--seed: wanted only with a FILE"),
        (["run", "--set", "seed=3"], "--set: wanted only with a FILE"),
        (["."], r"\.: wanted the directory of saved results, with one of summary\.json, sweep\.json, "),
        (["nowhere"], "nowhere: no such file"),
        (["nowhere", "--metric", "sent"], "nowhere: no such file"),
        ([".", "--metric", "sent"], r"\.: wanted the directory of saved results"),
        (["small.yaml", "--set", "duration=soon"], "--set duration: wanted a duration"),
        (["small.yaml", "--kind", "raster", "--out", "small.yaml/x.png"], "--out small.yaml: "),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(saved, arguments, problem):
    done = plot(*arguments)
    assert (done.code, done.out) == (2, [])
    assert any(re.match(problem, line) for line in done.err), done.err


def test_aggregates_have_no_timeline(here):
    done = plot("small.yaml", "--kind", "timeline", "--set", "record=aggregates")
    assert done.code == 2
    assert done.err == ["timeline: wanted a run that kept its notifications, got one without any"]


@pytest.mark.thorough
def test_files_that_are_gone_are_warned_of(here):
    (here / "counts.csv").write_text("value\n5\n")
    text = "{workload: [{channel: sms, arrivals: {trace: counts.csv, column: value, every: 5s}}]}"
    (here / "traced.yaml").write_text(text)
    simulation.save(simulation.run(here / "traced.yaml"), here / "run")
    (here / "counts.csv").unlink()
    done = plot("run", "--kind", "throughput")
    assert written(done) == ["run/throughput.png"]
    assert done.err == [
        f"warning: {here / 'counts.csv'} is gone, so plots do not show when arrivals stop, "
        "and the scenario cannot be run again"
    ]


def test_what_is_drawn_of_a_saved_run_is_what_is_drawn_of_the_run(saved):
    written(plot(saved, "--kind", "timeline"))
    expected = OF_A_RUN["timeline"].draw(simulation.run(parse(SCENARIO, "small.yaml")), Options())
    assert (saved / "timeline.png").read_bytes() == picture_bytes(expected, "png")


@pytest.mark.thorough
def test_two_runs_are_drawn_side_by_side_into_one_picture(saved, here):
    assert written(plot(saved, "small.yaml", "--channel", "sms")) == ["run-and-small.png"]
    assert (here / "run-and-small.png").read_bytes().startswith(b"\x89PNG")
    refused = plot(saved, "small.yaml", "--kind", "raster", "--metric", "sent")
    assert refused.code == 2
    assert any("--kind: wanted only with a single run" in line for line in refused.err)
