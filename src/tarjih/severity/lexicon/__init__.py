"""Signs of severity as data, and a reader that finds them in what a patient wrote."""
