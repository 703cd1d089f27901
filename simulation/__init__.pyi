from simulation import invariants as invariants, validation as validation
from simulation.engine.system import SimulatedSystem as SimulatedSystem
from simulation.experiments.comparison import Comparison as Comparison, compare as compare
from simulation.experiments.explaining.explain import Explanation as Explanation, explain as explain
from simulation.experiments.limits.limits import limits as limits
from simulation.experiments.limits.result import Limits as Limits
from simulation.experiments.prediction import predict as predict
from simulation.experiments.sweeping.result import SweepResult as SweepResult, open_sweep as open_sweep
from simulation.experiments.sweeping.sweep import sweep as sweep
from simulation.experiments.tuning.tune import tune as tune
from simulation.experiments.tuning.tuning import Tuning as Tuning
from simulation.fitting.calibration import Fit as Fit, fit as fit
from simulation.fitting.whatif import WhatIf as WhatIf, whatif as whatif
from simulation.reporting import plots as plots
from simulation.reporting.html import report as report
from simulation.results.result import Result as Result
from simulation.results.saved_result import SavedResult as SavedResult, open_result as open_result
from simulation.running.deciding import decide as decide
from simulation.running.live_run import run_live as run_live
from simulation.running.runner import run as run
from simulation.running.traces.recording import record as record
from simulation.running.traces.replaying import compare_traces as compare_traces, replay as replay
from simulation.saving import save as save
from simulation.scenario import Scenario as Scenario, load as load, parse as parse
from simulation.testing import strategies as strategies, testkit as testkit
from simulation.verification.cases.procedure import Validation as Validation, validate as validate
from simulation.verification.exploring.explore import Exploration as Exploration, explore as explore
from simulation.world.calls import Arrival as Arrival
from simulation.world.escape import Escape as Escape, ServiceFailed as ServiceFailed
from simulation.world.exploring import explore_service as explore_service
from simulation.world.provider import HostAnswer as HostAnswer, HostRequest as HostRequest
from simulation.world.run import (
    ServiceResult as ServiceResult,
    run_service as run_service,
)
from simulation.world.second import first_difference as first_difference, run_apart as run_apart
from simulation.world.transport import ScenarioTransport as ScenarioTransport
