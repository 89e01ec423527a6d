"""How severe a complaint is: annotators, their calibration, and how well they agree with people."""
