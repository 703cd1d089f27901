"""From a log of real attempts to the settings of a scenario (:mod:`~simulation.fitting.calibration`), and the recorded
outcomes replayed under other policies (:mod:`~simulation.fitting.whatif`)."""
